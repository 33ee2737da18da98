"""Constants of the elements, indexed by atomic number; index 0 is no element.

Masses and Mendeleev numbers are those of pymatgen. Covalent radii are as tabulated in ASE, which
has 0.2 angstrom where there is none.

Source: Ong et al. 2013 (pymatgen); Cordero et al. 2008: covalent radii.
"""

import numpy as np

SYMBOLS = (
    "", "H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na", "Mg", "Al", "Si", "P", "S",
    "Cl", "Ar", "K", "Ca", "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Ga", "Ge",
    "As", "Se", "Br", "Kr", "Rb", "Sr", "Y", "Zr", "Nb", "Mo", "Tc", "Ru", "Rh", "Pd", "Ag", "Cd",
    "In", "Sn", "Sb", "Te", "I", "Xe", "Cs", "Ba", "La", "Ce", "Pr", "Nd", "Pm", "Sm", "Eu", "Gd",
    "Tb", "Dy", "Ho", "Er", "Tm", "Yb", "Lu", "Hf", "Ta", "W", "Re", "Os", "Ir", "Pt", "Au", "Hg",
    "Tl", "Pb", "Bi", "Po", "At", "Rn", "Fr", "Ra", "Ac", "Th", "Pa", "U", "Np", "Pu", "Am", "Cm",
    "Bk", "Cf", "Es", "Fm", "Md", "No", "Lr", "Rf", "Db", "Sg", "Bh", "Hs", "Mt", "Ds", "Rg",
    "Cn", "Nh", "Fl", "Mc", "Lv", "Ts", "Og",
)  # fmt: skip

# unified atomic mass units
ATOMIC_MASS = np.array([
    0.0, 1.00794, 4.002602, 6.941, 9.012182, 10.811, 12.0107, 14.0067, 15.9994, 18.9984032,
    20.1797, 22.98976928, 24.305, 26.9815386, 28.0855, 30.973762, 32.065, 35.453, 39.948, 39.0983,
    40.078, 44.955912, 47.867, 50.9415, 51.9961, 54.938045, 55.845, 58.933195, 58.6934, 63.546,
    65.409, 69.723, 72.64, 74.9216, 78.96, 79.904, 83.798, 85.4678, 87.62, 88.90585, 91.224,
    92.90638, 95.94, 98.0, 101.07, 102.9055, 106.42, 107.8682, 112.411, 114.818, 118.71, 121.76,
    127.6, 126.90447, 131.293, 132.9054519, 137.327, 138.90547, 140.116, 140.90765, 144.242, 145.0,
    150.36, 151.964, 157.25, 158.92535, 162.5, 164.93032, 167.259, 168.93421, 173.04, 174.967,
    178.49, 180.94788, 183.84, 186.207, 190.23, 192.217, 195.084, 196.966569, 200.59, 204.3833,
    207.2, 208.9804, 210.0, 210.0, 220.0, 223.0, 226.0, 227.0, 232.03806, 231.03588, 238.02891,
    237.0, 244.0, 243.0, 247.0, 247.0, 251.0, 252.0, 257.0, 258.0, 259.0, 262.0, 267.0, 268.0,
    269.0, 270.0, 270.0, 278.0, 281.0, 282.0, 285.0, 286.0, 289.0, 290.0, 293.0, 294.0, 294.0,
])  # fmt: skip

# angstrom
COVALENT_RADIUS = np.array([
    0.0, 0.31, 0.28, 1.28, 0.96, 0.84, 0.76, 0.71, 0.66, 0.57, 0.58, 1.66, 1.41, 1.21, 1.11, 1.07,
    1.05, 1.02, 1.06, 2.03, 1.76, 1.7, 1.6, 1.53, 1.39, 1.39, 1.32, 1.26, 1.24, 1.32, 1.22, 1.22,
    1.2, 1.19, 1.2, 1.2, 1.16, 2.2, 1.95, 1.9, 1.75, 1.64, 1.54, 1.47, 1.46, 1.42, 1.39, 1.45,
    1.44, 1.42, 1.39, 1.39, 1.38, 1.39, 1.4, 2.44, 2.15, 2.07, 2.04, 2.03, 2.01, 1.99, 1.98, 1.98,
    1.96, 1.94, 1.92, 1.92, 1.89, 1.9, 1.87, 1.87, 1.75, 1.7, 1.62, 1.51, 1.44, 1.41, 1.36, 1.36,
    1.32, 1.45, 1.46, 1.48, 1.4, 1.5, 1.5, 2.6, 2.21, 2.15, 2.06, 2.0, 1.96, 1.9, 1.87, 1.8, 1.69,
    2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0,
    2.0, 2.0, 2.0,
])  # fmt: skip

# rows of Pettifor's chemical ordering; 0 where an element has none
MENDELEEV_NUMBER = np.array([
    0, 103, 1, 12, 77, 86, 95, 100, 101, 102, 2, 11, 73, 80, 85, 90, 94, 99, 3, 10, 16, 19, 51, 54,
    57, 60, 61, 64, 67, 72, 76, 81, 84, 89, 93, 98, 4, 9, 15, 25, 49, 53, 56, 59, 62, 65, 69, 71,
    75, 79, 83, 88, 92, 97, 5, 8, 14, 33, 32, 31, 30, 29, 28, 18, 27, 26, 24, 23, 22, 21, 17, 20,
    50, 52, 55, 58, 63, 66, 68, 70, 74, 78, 82, 87, 91, 96, 6, 7, 13, 48, 47, 46, 45, 44, 43, 42,
    41, 40, 39, 38, 37, 36, 35, 34, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
])  # fmt: skip

_NUMBERS = {symbol: number for number, symbol in enumerate(SYMBOLS) if symbol}

for _array in (ATOMIC_MASS, COVALENT_RADIUS, MENDELEEV_NUMBER):
    _array.flags.writeable = False


def element_number(symbol: str) -> int:
    """Return the atomic number of an element symbol.

    Args:
        symbol: as in the periodic table, "Na".

    Returns:
        Atomic number, 1 to 118.

    Raises:
        ValueError: no element has this symbol.
    """
    if symbol not in _NUMBERS:
        raise ValueError(f"{symbol!r} is not the symbol of an element")
    return _NUMBERS[symbol]
