"""Word lists that several families share."""

NAMES = tuple("Anna Ben Carl Dora Emma Finn Greta Hugo Ida Jack Kate Leo Mia Nora Otto Paul Rosa Sam Tina Vera".split())
COLOURS = tuple("red blue green black white yellow pink brown grey purple".split())
THINGS = tuple("cup hat book lamp chair ball coat pen bag clock jug plate shoe key phone ring".split())
JOBS = tuple("doctor teacher cook driver painter farmer baker pilot".split())
OTHER_WORDS = tuple(
    "apple house river stone bread music water table garden winter summer window letter market forest island silver"
    " paper".split()
)
DAYS = tuple("Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split())
