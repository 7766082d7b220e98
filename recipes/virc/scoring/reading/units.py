"""Units and currencies of numbers: `convert` gives a number in another unit.

pint converts. It is loaded (0.25 s) when two units are spelt differently. The tables here have spellings that it lacks
or reads otherwise (`px`, `C`, 厘米), and currencies, which it does not have. Text reaches pint as names of units, never
as an expression.
"""

import re
from fractions import Fraction
from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pint

_MAX_NAME = 30
_SPELT = {
    spelling: unit
    for unit, spellings in {
        "degree": "° deg degs 度 Grad grado grados gradi degré degrés градусов",
        "degC": "°c C c ℃ celsius centigrade 摄氏度", "degF": "°f F f ℉ fahrenheit 华氏度",
        "kelvin": "degk °k", "pixel": "px", "kilowatt_hour": "kwh", "gigabyte": "gb", "megabyte": "mb",
        "fluid_ounce": "floz", "hectare": "公顷",
        "milligram": "毫克", "gram": "gm gms gramme grammes 克", "kilogram": "kilo kilos kgs 千克 公斤",
        "metric_ton": "吨",
        "millimeter": "mms 毫米", "centimeter": "cms 厘米 公分", "decimeter": "分米", "meter": "mtr mtrs 米",
        "kilometer": "kms 公里 千米", "mile": "英里", "inch": '" ″ 英寸', "foot": "' ′ 英尺", "liter": "ltr ltrs 升",
        "milliliter": "mls 毫升", "second": "秒 秒钟", "minute": "分钟", "hour": "小时", "day": "天 日",
        "week": "周 星期",
        "month": "个月", "year": "年",
    }.items()
    for spelling in spellings.split()
}  # fmt: skip
_PRODUCTS = {
    "kmh": "km/h", "kmph": "km/h", "sqft": "ft^2", "sqm": "m^2", "sqkm": "km^2", "平方米": "m^2", "平方厘米": "cm^2",
    "平方千米": "km^2", "平方公里": "km^2", "立方米": "m^3", "立方厘米": "cm^3",
    "千米每小时": "km/h", "公里每小时": "km/h",
    "米每秒": "m/s", "千米/时": "km/h",
}  # fmt: skip
_CURRENCIES = {
    spelling.strip(): (codes.split()[0], Fraction(codes.partition(" ")[2] or 1))
    for codes, spellings in {
        "USD": "$, us$, usd, dollar, dollars, buck, bucks, us dollar, us dollars, american dollars, 美元",
        "EUR": "€, eur, euro, euros, 欧元",
        "GBP": "£, gbp, pound, pounds, quid, pounds sterling, british pounds, 英镑",
        "JPY": "jpy, yen, japanese yen, 日元, 円", "CNY": "cny, rmb, yuan, renminbi, 元, 块, 块钱, 人民币",
        "JPY/CNY": "¥, ￥",
        "INR": "₹, inr, rupee, rupees, rs, indian rupees", "KRW": "₩, krw, won",
        "RUB": "₽, rub, ruble, rubles, roubles",
        "CHF": "chf, swiss francs, franc, francs", "AUD": "a$, au$, aud, australian dollars",
        "CAD": "c$, ca$, cad, canadian dollars",
        "HKD": "hk$, hkd, hong kong dollars, 港元", "SGD": "s$, sgd, singapore dollars", "NZD": "nz$, nzd",
        "TWD": "nt$, twd",
        "BRL": "r$, brl, reais", "MXN": "mxn, mexican pesos", "SEK": "sek", "NOK": "nok", "DKK": "dkk",
        "PLN": "zł, pln",
        "TRY": "₺, lira", "THB": "฿, thb, baht", "VND": "₫, vnd, dong", "ILS": "₪, ils, shekels", "ZAR": "zar, rand",
        "BTC": "₿, btc, bitcoin, bitcoins", "USD/EUR/AUD/CAD/HKD/SGD/NZD 1/100": "cent, cents, ¢",
        "GBP 1/100": "penny, pence, p", "CNY 1/10": "角, 毛", "CNY 1/100": "分", "INR 1/100": "paise", "KPW": "kpw",
    }.items()
    for spelling in spellings.split(",")
}  # fmt: skip
BEFORE = re.compile(
    r"(?P<unit>(?:US|A|AU|C|CA|HK|S|NZ|NT|R)?\$|[€£¥￥₹₩₽₺฿₫₪₿]|Rs\.?(?= ?\d)|"
    + "|".join(sorted({name.upper() for name in _CURRENCIES if re.fullmatch("[a-z]{3}", name)}))
    + r") ?(?=[-\d.])"
)
"""A currency before its number."""
PERCENT = re.compile(r"(?:%|percents?\b|per ?cent\b|pct\b)", re.IGNORECASE)


def convert(number: Fraction, unit: str, to: str) -> list[Fraction]:
    """A number in another unit; empty if it cannot be converted, several if a unit has several meanings.

    Args:
        unit: as it was written after the number; case matters, `mW` is not `MW`.
    """
    found = []
    currency, to_currency = _currency(unit), _currency(to)
    if currency and to_currency:
        (codes, share), (to_codes, to_share) = currency, to_currency  # `¥` has two codes
        if set(codes.split("/")) & set(to_codes.split("/")):
            found.append(number * share / to_share)
    read, target = _parsed(unit), _parsed(to)
    if not read or not target:
        return found
    if {read, target} in ({"degree", "degree_Celsius"}, {"degree", "degree_Fahrenheit"}):  # 25 degrees, of either scale
        return [*found, number]
    from pint import DimensionalityError, OffsetUnitCalculusError

    quantity = _registry().Quantity
    try:
        bases = [quantity(Fraction(1), each).to_base_units().units for each in (read, target)]
        if bases[0] == bases[1]:  # pint would convert radians to bits: both are dimensionless to it
            found.append(Fraction(quantity(number, read).to(target).magnitude))
    except (DimensionalityError, OffsetUnitCalculusError, ArithmeticError, TypeError):
        pass
    return found


def is_known(unit: str) -> bool:
    return _currency(unit) is not None or _parsed(unit) is not None


def _currency(unit: str) -> tuple[str, Fraction] | None:
    return _CURRENCIES.get(unit.casefold().strip(" ."))


@cache
def _registry() -> "pint.UnitRegistry[Fraction]":
    import pint

    return pint.UnitRegistry(non_int_type=Fraction, cache_folder=None)


_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3, "squared": 2, "cubed": 3}
_FACTOR = re.compile(
    r"(?P<before>(?:square|sq\.?|cubic|cu\.?) ?)?(?P<name>[^\W\d_]+|[°℃℉'\"′″][CFKcfk]?)\.?"
    r"(?:(?: ?\^ ?\{?(?P<sign>-?)|(?=[23]\b))(?P<power>[1-4])\}?| (?P<after>squared|cubed))?"
)


@lru_cache(1024)
def _parsed(text: str) -> "pint.util.UnitsContainer | str | None":
    """A unit for pint: one name, or names with powers; None if a part of the text is no unit."""
    from pint.util import UnitsContainer

    text = _PRODUCTS.get(text.casefold(), text)
    text = re.sub(r"(?i)^(?:°|degs?\.?|degrees?) ?(c|f|k|celsius|fahrenheit|kelvin)$", r"°\1", text.strip())
    text = re.sub(r"°(celsius|fahrenheit|kelvin)", lambda found: found[1], text, flags=re.IGNORECASE)
    powers: dict[str, int] = {}
    for index, part in enumerate(re.split(r" ?(?:/| per | p(?=h\b)) ?", text)):
        for factor in re.split(
            r" ?[*·] ?|(?<!square)(?<!cubic)(?<!sq)(?<!sq\.)(?<!cu) (?!squared|cubed|\^)", part.strip()
        ):
            found = _FACTOR.fullmatch(factor)
            name = _name(found["name"]) if found else None
            if not found or name is None:
                return None
            word = (found["before"] or found["after"] or "").strip(" .").lower()
            power = _POWERS.get(word) or int(found["power"] or 1) * (-1 if found["sign"] else 1)
            is_divisor = index > 0
            powers[name] = powers.get(name, 0) + (-power if is_divisor else power)
    return next(iter(powers)) if [*powers.values()] == [1] else UnitsContainer(powers)


def _name(text: str) -> str | None:
    """The name of a unit in pint, by its spelling first, since case may matter, and then in small letters."""
    import pint

    if len(text) > _MAX_NAME:
        return None
    for spelling in dict.fromkeys((_SPELT.get(text, text), _SPELT.get(text.casefold(), text), text.lower())):
        try:
            return _registry().get_name(spelling) or None
        except (pint.UndefinedUnitError, TypeError, ValueError, KeyError, AttributeError):
            continue
    return None
