"""Whether oxidation states can balance, by a table that no library moves under the figures.

Shares of valid compositions move by several per cent with the list of oxidation states. This
one, SMACT's of 2014, is behind the published tables; with it come SMACT's electronegativities
(on Pauling's scale) and its list of metals.

The tables are those of SMACT 4.0.2 (MIT licence, copyright The SMACT Developers), frozen here.
"""

import math
from functools import cache, reduce
from math import gcd

import numpy as np

from symmbfn._shapes import Int
from symmbfn.crystals.elements import element_number

OXIDATION_SET = "smact14"  # the name of the table in SMACT
MAX_COMBINATIONS = 10_000_000

_STATES = """
H -1 +1; Li +1; Be +1 +2; B +1 +2 +3; C -4 -3 -2 -1 +1 +2 +3 +4; N -3 -2 -1 +1 +2 +3 +4 +5;
O -2 -1 +1 +2; F -1; Na -1 +1; Mg +1 +2; Al +1 +2 +3; Si -4 -3 -2 -1 +1 +2 +3 +4;
P -3 -2 -1 +1 +2 +3 +4 +5; S -2 -1 +1 +2 +3 +4 +5 +6; Cl -1 +1 +2 +3 +4 +5 +6 +7; K -1 +1;
Ca +1 +2; Sc +1 +2 +3; Ti -1 +1 +2 +3 +4; V -1 +1 +2 +3 +4 +5; Cr -2 -1 +1 +2 +3 +4 +5 +6;
Mn -3 -2 -1 +1 +2 +3 +4 +5 +6 +7; Fe -2 -1 +1 +2 +3 +4 +5 +6; Co -1 +1 +2 +3 +4 +5;
Ni -1 +1 +2 +3 +4; Cu +1 +2 +3 +4; Zn +1 +2; Ga +1 +2 +3; Ge -4 -3 -2 -1 +1 +2 +3 +4;
As -3 +1 +2 +3 +5; Se -2 +1 +2 +4 +6; Br -1 +1 +2 +3 +4 +5 +7; Kr +2; Rb -1 +1; Sr +1 +2;
Y +1 +2 +3; Zr +1 +2 +3 +4; Nb -1 +1 +2 +3 +4 +5; Mo -2 -1 +1 +2 +3 +4 +5 +6;
Tc -3 -1 +1 +2 +3 +4 +5 +6 +7; Ru -2 +1 +2 +3 +4 +5 +6 +7 +8; Rh -1 +1 +2 +3 +4 +5 +6;
Pd +1 +2 +4 +6; Ag +1 +2 +3 +4; Cd +1 +2; In +1 +2 +3; Sn -4 +2 +4; Sb -3 +3 +5; Te -2 +2 +4 +5 +6;
I -1 +1 +3 +4 +5 +7; Xe +1 +2 +4 +6 +8; Cs -1 +1; Ba +2; La +2 +3; Ce +2 +3 +4; Pr +2 +3 +4;
Nd +2 +3 +4; Pm +2 +3; Sm +2 +3; Eu +2 +3; Gd +1 +2 +3; Tb +1 +2 +3 +4; Dy +2 +3 +4; Ho +2 +3;
Er +2 +3; Tm +2 +3; Yb +2 +3; Lu +3; Hf +2 +3 +4; Ta -1 +2 +3 +4 +5; W -2 -1 +1 +2 +3 +4 +5 +6;
Re -3 -1 +1 +2 +3 +4 +5 +6 +7; Os -2 -1 +1 +2 +3 +4 +5 +6 +7 +8; Ir -3 -1 +1 +2 +3 +4 +5 +6 +7 +8;
Pt -2 -1 +1 +2 +3 +4 +5 +6; Au -1 +1 +2 +3 +5; Hg +1 +2 +4; Tl -1 +1 +3; Pb -4 +2 +4;
Bi -3 +1 +3 +5 +7; Po -2 +2 +4 +5 +6; At -1 +1 +3 +5 +7; Rn +2 +6; Fr +1; Ra +2; Ac +2 +3;
Th +2 +3 +4; Pa +2 +3 +4 +5; U +2 +3 +4 +5 +6; Np +3 +4 +5 +6 +7; Pu +2 +3 +4 +5 +6 +7 +8;
Am +2 +3 +4 +5 +6 +7; Cm +2 +3 +4 +6 +8; Bk +2 +3 +4; Cf +2 +3 +4; Es +2 +3 +4; Fm +2 +3; Md +2 +3;
No +2 +3; Lr +3
"""

_ELECTRONEGATIVITIES = """
H 2.2; Li 0.98; Be 1.57; B 2.04; C 2.55; N 3.04; O 3.44; F 3.98; Na 0.93; Mg 1.31; Al 1.61; Si 1.9;
P 2.19; S 2.58; Cl 3.16; K 0.82; Ca 1; Sc 1.36; Ti 1.54; V 1.63; Cr 1.66; Mn 1.55; Fe 1.83;
Co 1.88; Ni 1.91; Cu 1.9; Zn 1.65; Ga 1.81; Ge 2.01; As 2.18; Se 2.55; Br 2.96; Kr 3; Rb 0.82;
Sr 0.95; Y 1.22; Zr 1.33; Nb 1.6; Mo 2.16; Tc 2.1; Ru 2.2; Rh 2.28; Pd 2.2; Ag 1.93; Cd 1.69;
In 1.78; Sn 1.96; Sb 2.05; Te 2.1; I 2.66; Xe 2.6; Cs 0.79; Ba 0.89; La 1.1; Ce 1.12; Pr 1.13;
Nd 1.14; Sm 1.17; Eu 1.2; Gd 1.2; Tb 1.2; Dy 1.22; Ho 1.23; Er 1.24; Tm 1.25; Yb 1.1; Lu 1; Hf 1.3;
Ta 1.5; W 1.7; Re 1.9; Os 2.2; Ir 2.2; Pt 2.2; Au 2.4; Hg 1.9; Tl 1.8; Pb 1.8; Bi 1.9; Po 2;
At 2.2; Fr 0.7; Ra 0.9; Ac 1.1; Th 1.3; Pa 1.5; U 1.7; Np 1.3; Pu 1.3; Am 1.3; Cm 1.3; Bk 1.3;
Cf 1.3; Es 1.3; Fm 1.3; Md 1.3; No 1.3
"""

_METALS = """
Li Be Na Mg Al K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb
Cs Ba La Ce Pr Nd Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po Fr Ra Ac Th
Pa U Np Pu Am Cm Bk Cf Es Fm Md No
"""

OXIDATION_STATES: dict[int, tuple[int, ...]] = {
    element_number(symbol): tuple(map(int, states))
    for symbol, *states in map(str.split, _STATES.split(";"))
}
ELECTRONEGATIVITY: dict[int, float] = {
    element_number(symbol): float(value)
    for symbol, value in map(str.split, _ELECTRONEGATIVITIES.split(";"))
}
METALS = frozenset(map(element_number, _METALS.split()))


def is_smact_valid(atomic_numbers: Int[np.ndarray, "A"]) -> bool:
    """Whether oxidation states balance with anions more electronegative than cations.

    Elements and alloys of metals are valid. A compound is not where an element has no oxidation
    state or no electronegativity, or where there are more than 1e7 combinations of states: the
    published code gives up there, this one would not need to.

    Args:
        atomic_numbers: of all atoms of a cell, shape (A,); at least one.

    Source: Davies et al. 2016; book, method-validity.
    """
    numbers, counts = np.unique(np.asarray(atomic_numbers), return_counts=True)
    divisor = reduce(gcd, counts.tolist())
    return _is_smact_valid(tuple(numbers.tolist()), tuple((counts // divisor).tolist()))


@cache
def _is_smact_valid(numbers: tuple[int, ...], counts: tuple[int, ...]) -> bool:
    if len(numbers) == 1 or METALS.issuperset(numbers):
        return True
    n_combinations = math.prod(len(OXIDATION_STATES.get(number, ())) for number in numbers)
    if not 0 < n_combinations <= MAX_COMBINATIONS or not ELECTRONEGATIVITY.keys() >= {*numbers}:
        return False
    # cations then lie below some electronegativity and anions above it; elements that share
    # one have charges of one sign
    scale = sorted({ELECTRONEGATIVITY[number] for number in numbers})
    return any(_balances(numbers, counts, highest) for highest in scale[:-1])


def _balances(numbers: tuple[int, ...], counts: tuple[int, ...], highest_cation: float) -> bool:
    """Whether charges add up to zero with cations and anions told apart by electronegativity."""
    totals = {0}
    for number, count in zip(numbers, counts, strict=True):
        sign = 1 if ELECTRONEGATIVITY[number] <= highest_cation else -1
        states = [state for state in OXIDATION_STATES[number] if sign * state > 0]
        totals = {total + count * state for total in totals for state in states}
    return 0 in totals
