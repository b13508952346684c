"""A closed set of facts: capitals, asked in many wordings."""

from random import Random

from models.demo.question import Family, phrased

CAPITALS = dict(
    pair.split(":")
    for pair in (
        "France:Paris,Germany:Berlin,Italy:Rome,Spain:Madrid,Portugal:Lisbon,Austria:Vienna,"
        "Poland:Warsaw,Greece:Athens,Norway:Oslo,Sweden:Stockholm,Finland:Helsinki,"
        "Denmark:Copenhagen,Ireland:Dublin,Belgium:Brussels,Hungary:Budapest,"
        "Romania:Bucharest,Bulgaria:Sofia,Croatia:Zagreb,Serbia:Belgrade,Ukraine:Kyiv,"
        "Russia:Moscow,Turkey:Ankara,Egypt:Cairo,Morocco:Rabat,Algeria:Algiers,Tunisia:Tunis,"
        "Kenya:Nairobi,Ghana:Accra,Nigeria:Abuja,Senegal:Dakar,Ethiopia:Addis Ababa,"
        "Uganda:Kampala,Zambia:Lusaka,Angola:Luanda,Japan:Tokyo,China:Beijing,"
        "India:New Delhi,Thailand:Bangkok,Vietnam:Hanoi,Nepal:Kathmandu,Iran:Tehran,"
        "Iraq:Baghdad,Jordan:Amman,Qatar:Doha,Cuba:Havana,Canada:Ottawa,Mexico:Mexico City,"
        "Brazil:Brasilia,Chile:Santiago,Peru:Lima,Colombia:Bogota,Ecuador:Quito,"
        "Bolivia:Sucre,Argentina:Buenos Aires,Uruguay:Montevideo,Venezuela:Caracas,"
        "Australia:Canberra,Fiji:Suva,Iceland:Reykjavik,Latvia:Riga,Estonia:Tallinn,"
        "Lithuania:Vilnius,Slovakia:Bratislava,Slovenia:Ljubljana,Albania:Tirana,"
        "Malta:Valletta,Cyprus:Nicosia,Lebanon:Beirut,Syria:Damascus,Oman:Muscat,"
        "Mongolia:Ulaanbaatar,Laos:Vientiane,Indonesia:Jakarta,Malaysia:Kuala Lumpur,"
        "Panama:Panama City,Jamaica:Kingston,Haiti:Port-au-Prince,Honduras:Tegucigalpa,"
        "Paraguay:Asuncion,Somalia:Mogadishu"
    ).split(",")
)
CITIES = tuple(CAPITALS.values())[:30]


def capital(random: Random, _level: int) -> tuple[str, str]:
    """A country's capital or a capital's country; the facts are shared by all splits, the wordings are not."""
    country = random.choice(list(CAPITALS))
    city = CAPITALS[country]
    if random.random() < 0.3:
        prompt = random.choice(
            [
                f"Which country has the capital {city}?",
                f"{city} is the capital of which country?",
                f"Of which country is {city} the capital?",
            ]
        )
        return phrased(random, prompt, country, f"{city} is the capital of {country}.")
    prompt = random.choice(
        [
            f"What is the capital of {country}?",
            f"Name the capital of {country}.",
            f"Which city is the capital of {country}?",
            f"Tell me the capital of {country}.",
        ]
    )
    return phrased(random, prompt, city, f"The capital of {country} is {city}.")


FAMILIES = (Family("capital", {1: 5}, capital),)
