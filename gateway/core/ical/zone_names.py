"""Names of time zones that are no IANA names, as tables of facts.

Windows names come from ``icalendar``'s table after Unicode CLDR (windowsZones.xml). Here are those
that it has no more, the names that Rails applications show people (and write into calendars), and
the names that stand for a clock rather than for a place.
"""

NO_PLACES = frozenset(
    {"z", "gmt", "utc", "est", "mst", "hst", "uct", "universal", "zulu", "greenwich", "gmt0"}
    | {"gmt+0", "gmt-0", "cet", "met", "eet", "wet", "est5edt", "cst6cdt", "mst7mdt", "pst8pdt"}
)
"""In lower case; IANA knows them without knowing a place."""

OLD_WINDOWS = {
    "Armenian Standard Time": "Asia/Yerevan",
    "Kamchatka Standard Time": "Asia/Kamchatka",
    "Malay Peninsula Standard Time": "Asia/Kuala_Lumpur",
    "Mexico Standard Time": "America/Mexico_City",
    "Mexico Standard Time 2": "America/Mazatlan",
    "Mid-Atlantic Standard Time": "Etc/GMT+2",
}
"""Windows names that Microsoft withdrew and calendars still hold."""

_BY_ZONE = """
Etc/GMT+12 International Date Line West
Pacific/Midway Midway Island
Pacific/Pago_Pago American Samoa
Pacific/Honolulu Hawaii
America/Juneau Alaska
America/Los_Angeles Pacific Time (US & Canada)
America/Tijuana Tijuana
America/Denver Mountain Time (US & Canada)
America/Phoenix Arizona
America/Chihuahua Chihuahua
America/Mazatlan Mazatlan
America/Chicago Central Time (US & Canada)
America/Regina Saskatchewan
America/Mexico_City Guadalajara|Mexico City
America/Monterrey Monterrey
America/Guatemala Central America
America/New_York Eastern Time (US & Canada)
America/Indiana/Indianapolis Indiana (East)
America/Bogota Bogota
America/Lima Lima|Quito
America/Halifax Atlantic Time (Canada)
America/Caracas Caracas
America/La_Paz La Paz
America/Santiago Santiago
America/St_Johns Newfoundland
America/Sao_Paulo Brasilia
America/Argentina/Buenos_Aires Buenos Aires
America/Montevideo Montevideo
America/Guyana Georgetown
America/Puerto_Rico Puerto Rico
America/Godthab Greenland
Atlantic/South_Georgia Mid-Atlantic
Atlantic/Azores Azores
Atlantic/Cape_Verde Cape Verde Is.
Europe/Dublin Dublin
Europe/London Edinburgh|London
Europe/Lisbon Lisbon
Africa/Casablanca Casablanca
Africa/Monrovia Monrovia
Europe/Belgrade Belgrade
Europe/Bratislava Bratislava
Europe/Budapest Budapest
Europe/Ljubljana Ljubljana
Europe/Prague Prague
Europe/Sarajevo Sarajevo
Europe/Skopje Skopje
Europe/Warsaw Warsaw
Europe/Zagreb Zagreb
Europe/Brussels Brussels
Europe/Copenhagen Copenhagen
Europe/Madrid Madrid
Europe/Paris Paris
Europe/Amsterdam Amsterdam
Europe/Berlin Berlin
Europe/Zurich Bern|Zurich
Europe/Rome Rome
Europe/Stockholm Stockholm
Europe/Vienna Vienna
Africa/Algiers West Central Africa
Europe/Bucharest Bucharest
Africa/Cairo Cairo
Europe/Helsinki Helsinki
Europe/Kiev Kyiv|Kiev
Europe/Riga Riga
Europe/Sofia Sofia
Europe/Tallinn Tallinn
Europe/Vilnius Vilnius
Europe/Athens Athens
Europe/Istanbul Istanbul
Europe/Minsk Minsk
Asia/Jerusalem Jerusalem
Africa/Harare Harare
Africa/Johannesburg Pretoria
Europe/Kaliningrad Kaliningrad
Europe/Moscow Moscow|St. Petersburg
Europe/Volgograd Volgograd
Europe/Samara Samara
Asia/Kuwait Kuwait
Asia/Riyadh Riyadh
Africa/Nairobi Nairobi
Asia/Baghdad Baghdad
Asia/Tehran Tehran
Asia/Muscat Abu Dhabi|Muscat
Asia/Baku Baku
Asia/Tbilisi Tbilisi
Asia/Yerevan Yerevan
Asia/Kabul Kabul
Asia/Yekaterinburg Ekaterinburg
Asia/Karachi Islamabad|Karachi
Asia/Tashkent Tashkent
Asia/Kolkata Chennai|Kolkata|Mumbai|New Delhi
Asia/Kathmandu Kathmandu
Asia/Almaty Almaty|Astana
Asia/Dhaka Dhaka
Asia/Colombo Sri Jayawardenepura
Asia/Novosibirsk Novosibirsk
Asia/Rangoon Rangoon
Asia/Bangkok Bangkok|Hanoi
Asia/Jakarta Jakarta
Asia/Krasnoyarsk Krasnoyarsk
Asia/Shanghai Beijing
Asia/Chongqing Chongqing
Asia/Hong_Kong Hong Kong
Asia/Urumqi Urumqi
Asia/Kuala_Lumpur Kuala Lumpur
Asia/Singapore Singapore
Asia/Taipei Taipei
Australia/Perth Perth
Asia/Irkutsk Irkutsk
Asia/Ulaanbaatar Ulaanbaatar
Asia/Seoul Seoul
Asia/Tokyo Osaka|Sapporo|Tokyo
Asia/Yakutsk Yakutsk
Australia/Darwin Darwin
Australia/Adelaide Adelaide
Australia/Melbourne Canberra|Melbourne
Australia/Sydney Sydney
Australia/Brisbane Brisbane
Australia/Hobart Hobart
Asia/Vladivostok Vladivostok
Pacific/Guam Guam
Pacific/Port_Moresby Port Moresby
Asia/Magadan Magadan
Asia/Srednekolymsk Srednekolymsk
Pacific/Guadalcanal Solomon Is.
Pacific/Noumea New Caledonia
Pacific/Fiji Fiji
Asia/Kamchatka Kamchatka
Pacific/Majuro Marshall Is.
Pacific/Auckland Auckland|Wellington
Pacific/Tongatapu Nuku'alofa
Pacific/Fakaofo Tokelau Is.
Pacific/Chatham Chatham Is.
Pacific/Apia Samoa
"""


def _names_of(table: str) -> dict[str, str]:
    lines = (line.partition(" ") for line in table.strip().splitlines())
    return {name: zone for zone, _, names in lines for name in names.split("|")}


RAILS = _names_of(_BY_ZONE)
"""The names of ActiveSupport's time zones."""
