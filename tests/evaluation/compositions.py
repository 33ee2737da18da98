"""Twenty compositions worked out by hand from the table of oxidation states.

q is a charge from the table, X an electronegativity. All atoms of an element have one charge;
they must add up to zero, with every cation below every anion in X.
"""

# formula, valid?, charges or why there are none
HAND_CHECKED = (
    ({"Na": 1, "Cl": 1}, True, "1 - 1 = 0, X 0.93 < 3.16"),
    ({"Ca": 1, "Ti": 1, "O": 3}, True, "2 + 4 - 3 x 2 = 0, X 1.00 and 1.54 < 3.44"),
    ({"Fe": 2, "O": 3}, True, "2 x 3 - 3 x 2 = 0, X 1.83 < 3.44"),
    ({"K": 2, "S": 1, "O": 4}, True, "2 x 1 + 6 - 4 x 2 = 0, X 0.82 and 2.58 < 3.44"),
    ({"O": 1, "F": 2}, True, "oxygen is the cation: 2 - 2 x 1 = 0, X 3.44 < 3.98"),
    ({"C": 1, "S": 2}, True, "4 - 2 x 2 = 0, just: X 2.55 < 2.58"),
    ({"B": 4, "C": 1}, True, "4 x 1 - 4 = 0, X 2.04 < 2.55"),
    ({"Si": 8}, True, "an element"),
    ({"He": 1}, True, "an element, without any state"),
    ({"Cu": 1, "Zn": 7}, True, "an alloy, though neither has a negative state"),
    ({"Mn": 1, "Re": 1, "Os": 1, "Ir": 1, "Ru": 1, "Tc": 1, "O": 12}, True,
     "6 x 4 - 12 x 2 = 0, X up to 2.2 < 3.44; 10 x 9 x 10 x 10 x 9 x 9 x 4 = 2.9e6 combinations"),
    ({"Mn": 1, "Re": 1, "Os": 1, "Ir": 1, "Ru": 1, "Tc": 1, "Cr": 1, "O": 14}, False,
     "would balance, 7 x 4 - 14 x 2 = 0, but 8 times as many combinations, 2.3e7, is too many"),
    ({"Na": 1, "Cl": 3}, False, "1 - 3 x 1 = -2; chlorine as cation fails in X"),
    ({"Mg": 3, "O": 1}, False, "at least 3 x 1, at most -2"),
    ({"Fe": 3, "O": 4}, False, "8 / 3 a piece: mixed valence is refused"),
    ({"Mg": 1, "B": 2}, False, "boron is no metal here and has no negative state"),
    ({"C": 1, "Se": 2}, False, "4 - 2 x 2 = 0, but X 2.55 is not below 2.55"),
    ({"Cs": 1, "F": 2}, False, "1 - 2 x 1 = -1"),
    ({"He": 1, "O": 1}, False, "helium has no state"),
    ({"Pm": 1, "Cl": 3}, False, "3 - 3 x 1 = 0, but promethium has no X"),
)  # fmt: skip
