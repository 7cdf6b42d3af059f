"""Who is in the cohort and what follows from sex, age, ethnicity, height and BMI: marginals and regressions, no chance.

Every function takes and returns float64 arrays of shape (n,), elementwise. ``male`` is 1 or 0, ``ethnicity`` an index
into :data:`ETHNICITIES`. Marks of the sources: V read in the source, M recalled, F a fit or an assumption.

Sources: marginals NAKO MRI subset, n = 26,291 (V); body fat, trunk fat and waist NHANES 1999-2004 DXA (V); skeletal
muscle Lee 2000 (V); visceral fat a fit scaled to UK Biobank means (F); liver Vauthey 2002 (M) at the level of SHIP (V).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

Array = Float[np.ndarray, " n"]

SEXES = ("F", "M")
ETHNICITIES = ("white", "black", "south_asian", "east_asian", "other")
#: of a German or British city, with enough of each to learn from (F)
ETHNICITY_SHARES = (0.80, 0.07, 0.06, 0.05, 0.02)
MALE_SHARE = 0.561
SMOKING = ("never", "former", "current")
#: of each category; a level's index is its code
LEVELS = {"sex": SEXES, "ethnicity": ETHNICITIES, "smoking": SMOKING}
#: by sex, F then M (V)
SMOKING_SHARES = ((0.546, 0.274, 0.180), (0.469, 0.337, 0.194))

AGES = (18.0, 90.0)
BMIS = (16.0, 50.0)
#: flat top of half-width 14 years blurred by ``blur`` around ``centre``, and a tenth even from 18 to 90: mean and SD
#: are NAKO's, and one in 24 is over 70 (F)
AGE_SHAPE = {False: (47.749, 6.863), True: (46.994, 7.319)}
HEIGHT = {False: (165.68, 6.51), True: (179.10, 6.98)}
#: cm against white, F and M, in the order of ETHNICITIES (M)
HEIGHT_OFFSETS = {False: (0.0, -0.5, -6.0, -5.5, -3.0), True: (0.0, -0.5, -6.5, -5.5, -3.0)}
#: standard deviations of BMI against white (M)
BMI_OFFSETS = {False: (0.0, 0.35, 0.0, -0.45, 0.0), True: (0.0, 0.15, 0.0, -0.45, 0.0)}
#: log BMI as a Hermite series of a standard normal: a compromise of NAKO's mean and SD and its shares over 25 and 30
BMI_SERIES = {False: (3.2378, 0.1948, 0.0665, -0.0040), True: (3.2841, 0.1561, -0.0562, 0.0077)}
#: correlation of BMI with height within a sex, from the SD of NAKO's body mass
BMI_ON_HEIGHT = {False: -0.13, True: -0.06}


def plus(x: Array, width: float) -> Array:
    """max(x, 0) with a corner rounded over ``width``."""
    return width * np.logaddexp(0.0, x / width)


def plus_inverse(y: Array, width: float) -> Array:
    """The x of ``plus(x, width) = y``; NaN where y <= 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return y + width * np.log(-np.expm1(-y / width))


def at_most(x: Array, limit: float | Array, width: float) -> Array:
    """min(x, limit), rounded over ``width`` and never above ``limit``."""
    return limit - plus(limit - x, width)


def at_least(x: Array, limit: float | Array, width: float) -> Array:
    """max(x, limit), rounded over ``width`` and never below ``limit``."""
    return limit + plus(x - limit, width)


def by_sex(male: Array, man: float, woman: float) -> Array:
    """``man`` where male, else ``woman``."""
    return woman + (man - woman) * male


def of_ethnicity(ethnicity: Array, values: tuple[float, ...]) -> Array:
    """The entry of ``values`` (in the order of ETHNICITIES) for each person."""
    return np.asarray(values)[ethnicity.astype(int)]


#: standard normal scores of the tables of age and BMI
SCORES = np.linspace(-6.0, 6.0, 6001)


def _of_score(tables: np.ndarray, male: Array, score: Array) -> Array:
    """Rows (woman, man) of values at :data:`SCORES`, read linearly."""
    place = np.clip((score - SCORES[0]) / (SCORES[1] - SCORES[0]), 0, len(SCORES) - 1.001)
    i, sex = place.astype(int), male.astype(int)
    low, high = tables[sex, i], tables[sex, i + 1]
    return low + (high - low) * (place - i)


def _score_of(tables: np.ndarray, male: Array, value: Array) -> Array:
    """The inverse of :func:`_of_score`."""
    woman, man = (np.interp(value, table, SCORES) for table in tables)
    return np.where(male > 0.5, man, woman)


@cache
def _age_density(male: bool) -> tuple[np.ndarray, np.ndarray]:
    """Ages on a fine grid and their density, per year."""
    centre, blur = AGE_SHAPE[male]
    years = np.linspace(*AGES, 1441)
    top = ndtr((years - centre + 14) / blur) - ndtr((years - centre - 14) / blur)
    return years, 0.9 * top / (top.sum() * (years[1] - years[0])) + 0.1 / (AGES[1] - AGES[0])


@cache
def _age_tables() -> np.ndarray:
    rows = []
    for male in (False, True):
        years, density = _age_density(male)
        cumulated = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
        rows.append(np.interp(ndtr(SCORES), cumulated / cumulated[-1], years))
    return np.stack(rows)


def age_of_score(male: Array, score: Array) -> Array:
    """Age in years of a standard normal score."""
    return _of_score(_age_tables(), male, score)


def score_of_age(male: Array, age: Array) -> Array:
    """The inverse of :func:`age_of_score`."""
    return _score_of(_age_tables(), male, age)


def _height_offset(male: Array, age: Array, ethnicity: Array) -> Array:
    """cm: 1.25 mm a year of secular trend, shrinking from 60 on (NAKO: more than 6 cm youngest to oldest)."""
    aged = -0.125 * (age - 48) - 0.08 * plus(age - 62, 4.0)
    man, woman = (of_ethnicity(ethnicity, HEIGHT_OFFSETS[m]) for m in (True, False))
    return aged + np.where(male > 0.5, man, woman)


def _bmi_offset(male: Array, age: Array, ethnicity: Array) -> Array:
    """Standard deviations of BMI: rises to the age of 68, then falls slowly."""
    aged = -by_sex(male, 0.85, 0.70) * ((age - 68) / 40) ** 2
    man, woman = (of_ethnicity(ethnicity, BMI_OFFSETS[m]) for m in (True, False))
    return aged + np.where(male > 0.5, man, woman)


@cache
def _spread(what: str, male: bool) -> tuple[float, float]:
    """Mean and variance of an offset over the ages and ethnicities of a sex (quadrature)."""
    offset = {"height": _height_offset, "bmi": _bmi_offset}[what]
    years, density = _age_density(male)
    weights = np.outer(ETHNICITY_SHARES, density / density.sum())
    ages = np.broadcast_to(years, weights.shape).ravel()
    groups = np.repeat(np.arange(len(ETHNICITIES), dtype=float), len(years))
    values = offset(np.full(ages.shape, float(male)), ages, groups)
    mean = float(weights.ravel() @ values)
    return mean, float(weights.ravel() @ (values - mean) ** 2)


def height_law(male: Array, age: Array, ethnicity: Array) -> tuple[Array, Array]:
    """Mean and residual SD of height, cm, so that mean and SD over a sex are NAKO's."""
    (man, man_var), (woman, woman_var) = _spread("height", True), _spread("height", False)
    centre = by_sex(male, HEIGHT[True][0] - man, HEIGHT[False][0] - woman)
    sd = by_sex(male, (HEIGHT[True][1] ** 2 - man_var) ** 0.5, (HEIGHT[False][1] ** 2 - woman_var) ** 0.5)
    return centre + _height_offset(male, age, ethnicity), sd


def bmi_law(male: Array, age: Array, ethnicity: Array, height: Array) -> tuple[Array, Array]:
    """Mean and residual SD of the score whose :func:`bmi_of_score` is BMI; the score is standard within a sex."""
    (man, man_var), (woman, woman_var) = _spread("bmi", True), _spread("bmi", False)
    mean, sd = height_law(male, age, ethnicity)
    tall = by_sex(male, BMI_ON_HEIGHT[True], BMI_ON_HEIGHT[False])
    variance = 1 - by_sex(male, man_var, woman_var) - tall**2
    return _bmi_offset(male, age, ethnicity) - by_sex(male, man, woman) + tall * (height - mean) / sd, variance**0.5


@cache
def _bmi_tables() -> np.ndarray:
    rows = []
    for male in (False, True):
        mu, sd, skew, tail = BMI_SERIES[male]
        raw = np.exp(mu + sd * (SCORES + skew * (SCORES**2 - 1) + tail * (SCORES**3 - 3 * SCORES)))
        soft = at_most(at_least(raw, BMIS[0] - 0.5, 1.0), BMIS[1] + 0.5, 2.0)
        rows.append(np.maximum.accumulate(soft) + 1e-6 * (SCORES - SCORES[0]))
    return np.stack(rows)


def bmi_of_score(male: Array, score: Array) -> Array:
    """BMI in kg/m^2 of a score, clipped softly into 16 to 50."""
    return np.clip(_of_score(_bmi_tables(), male, score), *BMIS)


def score_of_bmi(male: Array, bmi: Array) -> Array:
    """The inverse of :func:`bmi_of_score`."""
    return _score_of(_bmi_tables(), male, bmi)


def body_surface(height: Array, bmi: Array) -> Array:
    """Mosteller's body surface area, m^2."""
    return np.sqrt(height * bmi * (height / 100) ** 2 / 3600)


def _parabola(d: Array, slope: float, bend: float, low: float, high: float) -> Array:
    """slope d + bend d^2 for d in [low, high], and straight on beyond both."""
    inside = np.clip(d, low, high)
    return slope * inside + bend * inside**2 + (slope + 2 * bend * inside) * (d - inside)


def body_fat_law(male: Array, age: Array, bmi: Array, ethnicity: Array) -> tuple[Array, Array]:
    """Body fat, % of mass (NHANES; Asians by Gallagher 2000): mean and residual SD. Straight beyond BMI 42."""
    man = 27.85 + _parabola(bmi - 27, 0.944, -0.0141, -11, 15) + 0.091 * (age - 45) - 2.26 * (ethnicity == 1)
    woman = 39.73 + _parabola(bmi - 27, 0.958, -0.0195, -11, 15) + 0.065 * (age - 45) - 1.77 * (ethnicity == 1)
    asian = np.isin(ethnicity, (2, 3)) * (129 / bmi - 0.091 * age)
    return np.where(male > 0.5, man, woman) + asian, by_sex(male, 3.4, 3.3)


def trunk_fat_law(male: Array, age: Array, height: Array, bmi: Array, ethnicity: Array) -> tuple[Array, Array]:
    """Trunk fat, kg (NHANES DXA) before :func:`trunk_fat_of`: mean and residual SD.

    The South Asian term gives the .93 L of subcutaneous and .20 L of visceral fat by which they exceed matched whites.
    """
    black, south = ethnicity == 1, (0.93 + 0.20) / 0.93 * 0.80 * (ethnicity == 2)
    man = 12.35 + 0.140 * (height - 176) + 0.969 * (bmi - 27) + 0.061 * (age - 45) - 1.88 * black
    woman = 13.56 + 0.180 * (height - 162) + 0.933 * (bmi - 27) + 0.035 * (age - 45) - 1.52 * black
    mean = np.where(male > 0.5, man, woman) + south
    return mean, by_sex(male, 1.95, 1.92) * (trunk_fat_of(male, mean) / by_sex(male, 12.4, 13.6)) ** 0.2


def trunk_fat_of(male: Array, line: Array) -> Array:
    """kg of trunk fat of the straight line's value: never under .8 kg, bent as in the lean of NHANES (F)."""
    return np.where(male > 0.5, at_least(line, 0.8, 2.0), at_least(line, 0.8, 1.5))


def trunk_fat_line(male: Array, trunk_fat: Array) -> Array:
    """The inverse of :func:`trunk_fat_of`."""
    return 0.8 + np.where(male > 0.5, plus_inverse(trunk_fat - 0.8, 2.0), plus_inverse(trunk_fat - 0.8, 1.5))


def waist_law(male: Array, age: Array, height: Array, bmi: Array, ethnicity: Array) -> tuple[Array, Array]:
    """Waist, cm (NHANES): mean and residual SD, which grows with the mean (as it does there)."""
    d, black = bmi - 27, ethnicity == 1
    man = 97.85 + 0.34 * (height - 176) + _parabola(d, 2.50, -0.01, -11, 23) + 0.19 * (age - 45) - 3.3 * black
    woman = 91.34 + 0.36 * (height - 162) + _parabola(d, 2.23, -0.02, -11, 23) + 0.15 * (age - 45) - 1.2 * black
    mean = np.where(male > 0.5, man, woman)
    return mean, mean * by_sex(male, 4.2 / 97.85, 5.7 / 91.34)


def visceral_fat_mean(male: Array, age: Array, bmi: Array, ethnicity: Array) -> Array:
    """Visceral fat, litres: the facts' lines at the level of UK Biobank (5 L in men, 2.8 in women).

    Rounded at its foot, less of the age term in the lean, half the slope from BMI 40 on.
    """
    man, woman = 0.42 * plus(bmi - 20, 1.5), 0.22 * plus(bmi - 18.5, 1.5)
    size = np.where(male > 0.5, man - 0.21 * plus(bmi - 40, 2.0), woman - 0.11 * plus(bmi - 40, 2.0))
    lean = np.clip((bmi - 13) / 9, 0.0, 1.0)
    aged = lean * by_sex(male, 0.060, 0.035) * (age - 20) + lean * by_sex(male, 0.4, 0.3)
    share = of_ethnicity(ethnicity, (1.0, 0.75, 1.0, 1.15, 1.0))
    level = by_sex(male, 0.85, 0.82)
    return share * level * at_least(size + aged, 0.25, 0.15) + 0.20 * (ethnicity == 2)


def muscle_mean(male: Array, age: Array, height: Array, bmi: Array, ethnicity: Array) -> Array:
    """Skeletal muscle of the whole body, kg (Lee 2000); six tenths of the slope on mass from BMI 30 on."""
    mass = (bmi - 0.4 * plus(bmi - 30, 1.5)) * (height / 100) ** 2
    race = 1.4 * (ethnicity == 1) - 1.2 * np.isin(ethnicity, (2, 3))
    return 0.244 * mass + 0.078 * height + 6.6 * male - 0.098 * age - 3.3 + race


def liver_fat_median(age: Array, bmi: Array, ethnicity: Array) -> Array:
    """Liver PDFF, % (fit to UK Biobank); flatter from BMI 38 on; South Asians .92 points more at the mean."""
    size = bmi - 26.5 - 0.6 * plus(bmi - 38, 2.0)
    return 2.1 * np.exp(0.11 * size + 0.005 * (age - 60) + 0.21 * (ethnicity == 2))


#: curvature of the right tail of log PDFF, and the level at which it is held
LIVER_FAT_TAIL, LIVER_FAT_SD, LIVER_FAT_LIMIT = 0.13, 0.70, 45.0


def liver_fat_of(median: Array, score: Array) -> Array:
    """Liver PDFF of a standard normal ``score`` with a tail heavier than lognormal to the right."""
    raw = median * np.exp(LIVER_FAT_SD * (score + LIVER_FAT_TAIL * np.maximum(score, 0) ** 2))
    return at_most(raw, LIVER_FAT_LIMIT, 3.0)


def liver_fat_score(median: Array, pdff: Array) -> Array:
    """The inverse of :func:`liver_fat_of`."""
    with np.errstate(invalid="ignore", divide="ignore"):
        bent = np.log((LIVER_FAT_LIMIT - plus_inverse(LIVER_FAT_LIMIT - pdff, 3.0)) / median) / LIVER_FAT_SD
    right = (np.sqrt(1 + 4 * LIVER_FAT_TAIL * np.maximum(bent, 0)) - 1) / (2 * LIVER_FAT_TAIL)
    return np.where(bent > 0, right, bent)


def liver_mean(height: Array, bmi: Array, age: Array, pdff: Array) -> Array:
    """Liver, mL: Vauthey's slope on body surface at the level of SHIP, larger when fat, smaller from 60 on."""
    size = at_least(-1000.0 + 1267.0 * body_surface(height, bmi), 750.0, 150.0)
    return size * (1 + 0.012 * (at_most(pdff, 30.0, 3.0) - 3)) * (1 - 0.003 * plus(age - 60, 3.0))
