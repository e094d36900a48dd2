"""Seeded English agent memories for benchmarks and for fitting models: turns, preferences, facts, events, procedures.

A text is an opener, followers and perhaps a closer of one register, about one topic and the same people. Its length
is drawn from a right-skewed distribution shaped like that of real chat: mean 34 tokens of BERT's WordPiece, median 30.
"""

import random
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

Words = tuple[str, ...]
Patterns = tuple[Words, ...]  # each one is text, slot, text, ..., slot, text
Menu = list[Patterns]  # [budget]: those that cost at most so many tokens
Draw = Callable[[], float]  # the next random number of [0, 1)
Item = TypeVar("Item")


def _list(text: str, mark: str = ",") -> Words:
    """The items of a list, separated as in the lists below."""
    return tuple(item.strip() for item in text.replace("\n", mark).split(mark) if item.strip())


WOMEN: Final = _list("""
    Ana, Maria, Julia, Emma, Laura, Nina, Alice, Sarah, Grace, Helen, Irene, Clara, Diana, Rosa, Eva, Lucy, Sofia, Tara
    Hannah, Ruth, Olivia, Amy, Zoe, Ingrid, Naomi, Carmen, Molly, Kate, Elena, Rachel, Joan, Lily, Vera, Marta, Paula
""")
MEN: Final = _list("""
    Tom, Ben, Carlos, David, Omar, Peter, Lucas, Ivan, Marco, Sam, Daniel, Felix, Hugo, Jack, Leo, Martin, Oscar, Ravi
    Simon, Victor, Adam, Erik, George, Henry, James, Kevin, Louis, Nathan, Oliver, Philip, Robert, Stefan, Walter, Joe
""")
MONTHS: Final = _list("January,February,March,April,May,June,July,August,September,October,November,December")
DAYS: Final = _list("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday")
NUMBERS: Final = _list("two, three, four, five, six, seven, eight, nine, ten, twelve, fifteen, twenty")
DATES: Final = tuple(f"{day} {month}" for month in MONTHS for day in range(1, 29))
ON_DATES: Final = tuple(f"on {date}" for date in DATES[::5])
LAST: Final = tuple(f"last {name}" for name in DAYS + MONTHS)
NEXT: Final = tuple(f"{which} {day}" for which in ("next", "on") for day in DAYS)

# What fills the slots of a pattern, whatever its topic.
COMMON: Final[dict[str, Words]] = {
    "month": MONTHS,
    "day": DAYS,
    "number": NUMBERS,
    "time": tuple(f"{hour}{minute}" for hour in range(1, 13) for minute in ("", ":15", ":30", ":45")),
    "clock": tuple(f"{h % 12 or 12}:{m:02} {'ap'[h > 11]}m" for h in range(7, 23) for m in range(0, 60, 5)),
    "date": DATES,
    "fulldate": tuple(f"{date} {year}" for date in DATES for year in range(2012, 2026)),
    "past": (*_list("yesterday, this morning, last night, a few days ago"), *LAST, *ON_DATES),
    "soon": (*_list("tomorrow, tonight, next week, next month, this weekend"), *NEXT, *ON_DATES),
    "minutes": tuple(f"{count} minutes" for count in (2, 5, 10, 15, 20, 25, 30, 40, 45, 50)),
    "hours": tuple(f"{number} hours" for number in NUMBERS),
    "long": tuple(f"{number} {unit}" for number in NUMBERS for unit in ("weeks", "months", "years")),
    "price": tuple(f"${price}" for price in range(8, 400, 7)),
    "count": tuple(str(count) for count in range(31, 80)),
    "city": _list("Oslo, Lisbon, Boston, Berlin, Dublin, Toronto, Denver, Madrid, Chicago, Vienna, Seattle, Lima"),
    "food": _list("ramen, fresh pasta, lentil soup, sushi, grilled fish, mushroom pizza, apple pie, tacos"),
    "drink": _list("green tea, black coffee, oat milk, ginger beer, apple juice, mint tea, red wine, hot cocoa"),
    "meet": _list("a coffee, a drink, a walk, a quick chat, a call, an ice cream, a game of chess, a short visit"),
    "kin": _list("sister, brother, mother, father, cousin, aunt, uncle, neighbor, boss, roommate, best friend"),
    "job": _list("a nurse, an engineer, a teacher, an architect, a designer, an editor, a chef, a lawyer, an actor"),
    "feel": _list("proud, happy, tired, nervous, excited, relieved, calm, hopeful, grateful, surprised, cheerful"),
    "good": _list("great, wonderful, amazing, lovely, exciting, fantastic, inspiring, awesome, impressive, brilliant"),
    "hard": _list("tricky, tiring, slow, stressful, confusing, demanding, frustrating, messy, difficult, complicated"),
    "better": _list("mornings, quiet evenings, weekends, small groups, short meetings, early starts, rainy days"),
    "rule": _list("peanuts, shellfish, gluten, strawberries, dairy, soy, eggs, sesame, walnuts, onions, garlic"),
    "reason": _list("work was slow, the train was late, the kids were away, the tickets were gone, it was raining"),
}

# A topic is a paragraph with words for each of these slots.
SLOTS: Final = ("doing", "thing", "place", "goal", "trouble", "tip")
TOPICS: Final = """
baking bread, making sourdough, baking cakes for friends, testing old recipes; a stand mixer, an iron pan, a rolling pin
an oven thermometer; the corner bakery, the farmers market, the cooking school; bake a good rye loaf, make soft rolls
keep a starter alive; the dough sticks to everything, the crust burns, the loaf stays flat, the oven runs too hot;
weigh the flour, let the dough rest overnight, add less salt, lower the heat, cover the bowl with a towel

hiking, climbing in the hills, walking the coast path, planning mountain trips; an ice axe, a light tent, a rain jacket
an old trail map; the mountain hut, the lake camp, the outdoor shop; reach the summit before noon, plan the ridge walk
cross the river safely; the path is flooded, the forecast changes, the boots start to hurt, the signal drops out;
check the forecast, fill the water bottles, turn back early, mark the camp on the map, carry a spare lamp

playing guitar, writing songs, learning the cello, practicing with a small band; an electric guitar, an upright piano
a music stand; the music school, the jazz club, the record store; learn a new song, record a clean demo
play the solo at full speed; the strings go out of tune, the tempo drifts, the left hand gets sore, the amp makes noise;
tune every string, slow the song down, repeat the hard bars, listen to the recording, count out loud

training the puppy, volunteering with rescue dogs, looking after two cats, walking the dog; an orange leash
a soft dog bed, a travel crate; the animal shelter, the dog park, the pet store; calm the puppy down
introduce the new cat, teach the dog to wait; the puppy barks at night, the cat hides, the dog pulls on the leash;
stay calm, offer a small treat, close the kitchen door, call the vet, keep the sessions short

rewriting the billing service, moving the database, fixing the build, cleaning up the search code; a second monitor
an extra test server, a backup battery; the office, the coding club, the data center; deploy the billing service
restore a backup, rotate the access keys; the migration times out, the cache is stale, the tests fail, port 80 is taken;
run the tests, stop the workers, tag the release, check the error log, restart the queue, warm the cache

preparing the budget report, planning the product launch, interviewing customers, writing the grant proposal
checking the invoices; an office printer, a project planner, a label maker; the head office, the trade show
the business library; publish the monthly report, book a client visit, close the quarter; the numbers do not match
the client is late, the deadline moves, the approval is missing; ask finance for the totals, update the spreadsheet
share the draft, confirm the date, copy the manager
"""

# Each register is a paragraph of openers, one of followers and one of closers; a bar or the end of a line parts them.
TALK: Final = """
See you {soon}, {friend}! | Good morning, {friend}! | See you {soon} at {place}! | I left {city} at {clock}.
Thanks {friend}, see you at {time}! | {friend}, {meet} {soon} at {time}? | Hi {friend}! How was {city}?
Call me at {clock}, {friend}. | Sorry {friend}, I missed your call {past}. | Yeah, {doing} is {hard}, but it's worth it.
Lunch is at {time}. | I have been {doing} with my {kin} since {month}. | I hear that {doing} makes you {feel}, {friend}.
Happy birthday, {friend}! So you are {count} now? | Hey {friend}! Good to hear from you. I spent the whole day {doing}.
Hey {friend}! I tried {doing} {past}. | Wow {friend}, {doing} sounds {good}! | My {kin} got me into {doing} {past}.
Guess what, {friend}? I finally started {doing}! | {friend}, did I tell you that I bought {thing} for {price} {past}?
That's {good}, {friend}! I didn't know you were into {doing}. | I met {other} at {place}, and we talked about {doing}.

My week was {good}! | My {kin} says it's {good} that I keep {doing}. | It would be {good} if I could {goal} on my own.
I'm so {feel}. | You'd love {city}! | I still need {thing}.
Work was {hard}, though. | I'm going back to {place} {soon}. | If {trouble}, I just {tip}. | I spent {long} {doing}.
I felt really {feel} {past}. | I want to {goal} before the end of {month}. | Can you believe that {thing} costs {price}?
My {kin} made {food} for us. | {other} told me to {tip}, and it worked! | {other} and I spent {hours} {doing} {past}.
Lately, {doing} helps me slow down. | The {hard} part is when {trouble}. | I couldn't call {past} because {reason}.
I picked up {thing} at {place} for {price}. | At first {doing} made me {feel}, but now I look forward to it every {day}.
There's a group at {place} every {day} at {clock}. | I took the {clock} train from {city}, so I had time to think.
I still have {number} photos of {place} on my phone. | Someone from {city} showed me how to {goal}, which was {good}.
Afterwards we had {food} and {drink}, and everyone was {feel}. | {other} is coming over {soon}, so I'm a little {feel}.

How about you? | Thanks again! | Let's talk again {soon}! | What have you been up to?
Any plans for {day}? | What do you do when {trouble}? | Say hi to your {kin} for me! | Have you ever been to {place}?
Want to come along {soon}? | Do you know anyone who could help me {goal}? | Are you free for {meet} on {day} at {clock}?
"""
FACTS: Final = """
{name} likes {food}. | {name} is allergic to {rule}. | {name} has lunch at {time}. | {name} is {job} from {city}.
{name} prefers {drink} over {drink}. | {name} joined the team on {fulldate}. | {name} works with {friend} in {city}.
{name} has been {doing} since {month}. | {name} is {job} who moved from {city} to {city} on {fulldate}.
{name} enjoys {doing} and meets {friend} at {place} every {day}. | {name} wants reminders about {doing} at {clock}.
{name} has been {doing} for {long} and hopes to {goal} by {month}. | {name} shares an interest in {doing} with {friend}.

{They} prefers {better}. | {They} asked to be told whenever {trouble}. | {They} likes to {tip} before anything else.
{Their} {kin} lives in {city}. | {They} owns {thing}. | {They} avoids {rule}.
{They} feels {feel} after {doing}. | {They} dislikes it when {trouble}. | {They} described {place} as {good}.
{They} usually has {food} with {drink} on {day}s. | {They} plans to visit {friend} in {city} {soon}.
{Their} {kin} is {job} and turns {count} in {month}. | {They} spends about {hours} a week {doing} and says it is {good}.
{They} bought {thing} at {place} for {price}. | {They} never buys {food}. | {They} wants to {goal}, but finds it {hard}.
Reminders for {them} should arrive before {clock}. | {Their} {kin} and {friend} both recommended {place}.

{They} is free on {day}s after {clock}. | {They} said so {past}. | {Their} goal is to {goal}.
"""
EVENTS: Final = """
On {date}, {name} left {city}. | {name} met {friend} on {fulldate}. | On {fulldate}, {name} decided to {goal}.
On {fulldate}, {name} visited {place} in {city}. | On {fulldate}, {name} started {doing} with {friend} at {place}.
At {clock} on {date}, {name} called {friend} about {doing}. | On {date}, {name} bought {thing} for {price}.

The day was {good}. | {They} paid {price} for {thing}. | They all had {food} at {place}. | {They} was home by {clock}.
{They} was {feel}. | {friend} showed {them} how to {goal}. | {friend} brought {drink}, and {their} {kin} brought {food}.
{Their} {kin} joined {them} at {clock}. | Later that day, {they} wrote to {their} {kin} about what to do when {trouble}.
{They} had time because {reason}. | The trip from {city} took {hours}. | {Their} {kin} took {number} pictures.
{They} said that the day was {hard} but {good}. | About {count} people came, and {number} of them stayed until {clock}.
{friend} was {feel} too.
{other} from {city} gave {them} {thing} as a present. | Before leaving, {they} promised {friend} to {tip} next time.

The next meeting is {soon} at {clock}. | {They} will return {soon}. | {friend} still talks about it.
"""
STEPS: Final = """
To {goal}, {tip}. | If {trouble}, {tip} and wait {minutes}. | {friend} explained how to {goal}: first {tip}, then {tip}.
To {goal}, first {tip}. | When {trouble}, call {friend}.
Before you {goal}, {tip} and tell {friend}. | Every {day} at {clock}, {tip}, because that is how {name} likes to {goal}.

Then {tip}. | After that, {tip}. | Wait about {minutes}. | If {trouble}, {tip}. | Repeat this every {day}.
This takes {minutes} on average. | Do not continue while {trouble}. | Next, {tip}. | {other} usually does it by {clock}.
Ask {friend} at {place} before {clock}. | When it fails more than {number} times, write down the time and call {friend}.
It is easier with {thing}, which costs about {price}. | {name} noted on {fulldate} that this step is {hard}.

Finally, tell {friend}. | Last checked on {fulldate}. | {friend} can help on {day}s after {clock}.
"""
# Where the share of each register ends, its patterns, and whether the text begins with who speaks.
REGISTERS: Final = ((0.5, TALK, True), (0.6, TALK, False), (0.8, FACTS, False), (0.9, EVENTS, False), (1, STEPS, False))
# The shares of the texts that are shorter, each with its length in tokens: linear in between.
SHARES: Final = (0.0, 0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99, 0.999, 1.0)
LENGTHS: Final = (6, 10, 15, 18, 24, 31, 42, 54, 63, 85, 115, 150)
NAMES: Final = WOMEN + MEN
SHE: Final = {"They": ("She",), "they": ("she",), "Their": ("Her",), "their": ("her",), "them": ("her",)}
HE: Final = {"They": ("He",), "they": ("he",), "Their": ("His",), "their": ("his",), "them": ("him",)}
SCENES: Final = tuple(
    {**COMMON, **dict(zip(SLOTS, map(_list, topic.split(";")), strict=True))} for topic in TOPICS.split("\n\n")
)
TOKEN: Final = re.compile(r"\w+|[^\w\s]")  # a word or a mark: about one token


def _tokens(text: str) -> int:
    """The approximate number of tokens of a text."""
    return len(TOKEN.findall(text))


def _cost(pattern: Words) -> int:
    """About how many tokens a pattern makes with the words of the first topic; integers alone round alike anywhere."""
    words = [SCENES[0].get(slot, ("she",)) for slot in pattern[1::2]]
    return _tokens(" ".join(pattern[::2])) + sum(_tokens(" ".join(some)) // len(some) for some in words)


def _menu(paragraph: str) -> Menu:
    """The patterns of a paragraph that fit each budget."""
    patterns = (tuple(re.split(r"{(\w+)}", item)) for item in _list(paragraph, "|"))
    costs = {pattern: _cost(pattern) for pattern in patterns}
    return [tuple(p for p, cost in costs.items() if cost <= budget) for budget in range(LENGTHS[-1])]


MENUS: Final = {text: tuple(map(_menu, text.split("\n\n"))) for text in (TALK, FACTS, EVENTS, STEPS)}


def mixed_texts(count: int, seed: int = 0) -> list[str]:
    """The first `count` texts of an endless sequence of distinct English memories, the same for a seed anywhere.

    Only `random()` is drawn on, as what `choice` and the like make of it may differ between versions of Python.
    """
    draw = random.Random(seed).random
    texts: dict[str, None] = {}
    while len(texts) < count:
        texts[_text(draw)] = None
    return list(texts)


def _text(draw: Draw) -> str:
    """A random text: an opener, followers for as long as the drawn length affords one, and perhaps a closer."""
    used: set[object] = set()
    scene = _scene(draw, used)
    share = draw()
    patterns, speaks = next((patterns, speaks) for end, patterns, speaks in REGISTERS if share < end)
    openers, followers, closers = MENUS[patterns]
    start = f"{scene['name'][0]}: " if speaks else ""
    budget = _length(draw()) - 2 - _tokens(start)  # two for [CLS] and [SEP]

    affordable = openers[budget] or next(filter(None, openers))
    sentences = [_sentence(affordable, scene, draw, used)]
    budget -= _tokens(sentences[0])
    ending = []
    if draw() < 0.5 and budget > 0 and closers[budget]:
        ending = [_sentence(closers[budget], scene, draw, used)]
        budget -= _tokens(ending[0])
    while budget > 0 and not used.issuperset(followers[budget]):
        sentences.append(_sentence(followers[budget], scene, draw, used))
        budget -= _tokens(sentences[-1])
    return start + " ".join(sentences + ending)


def _scene(draw: Draw, used: set[object]) -> dict[str, Words]:
    """The words of a random topic, and three people; pronouns refer to the first."""
    scene = dict(SCENES[int(draw() * len(SCENES))])
    for slot in ("name", "friend", "other"):
        scene[slot] = (_pick(NAMES, draw, used),)
    scene.update(SHE if scene["name"][0] in WOMEN else HE)
    return scene


def _length(share: float) -> int:
    """The length in tokens that this share of the texts stays below."""
    above = bisect_right(SHARES, share)
    low, high = SHARES[above - 1], SHARES[above]
    return round(LENGTHS[above - 1] + (LENGTHS[above] - LENGTHS[above - 1]) * (share - low) / (high - low))


def _sentence(patterns: Patterns, scene: dict[str, Words], draw: Draw, used: set[object]) -> str:
    """A random pattern with its slots filled by random words of the scene."""
    pieces = list(_pick(patterns, draw, used))
    for place in range(1, len(pieces), 2):
        pieces[place] = _pick(scene[pieces[place]], draw, used)
    return "".join(pieces)


def _pick(items: Sequence[Item], draw: Draw, used: set[object]) -> Item:
    """A random item that the text has not used yet, if there is one; marks it as used."""
    first = int(draw() * len(items))
    for back in range(len(items)):
        if items[first - back] not in used:
            first -= back
            break
    used.add(items[first])
    return items[first]
