"""Words that mean the same, words that mean the opposite, and words that say little.

The lists are general English of the kind that papers and summaries of them are written in. What belongs to a field of
its own, its terms, names and units, must stand in the passage itself and so is not here.
"""

import re
from functools import cache

from app.assistant.terms import STOP_WORDS, stem

_SAME_TEXT = """
use employ utilize rely leverage adopt apply
show demonstrate find found observe report indicate establish prove confirm state say claim note
list give present
mean imply suggest
keep remain stay preserve maintain
mostly largely mainly predominantly
case instance
less fewer lower
number amount count quantity
enough sufficient suffice
reveal disclose betray
need require demand necessary
reduce lower decrease cut shrink drop fall decline diminish
increase raise grow rise
reach achieve attain get obtain gain
prevent avoid stop eliminate
allow enable let permit possible able can
match equal replicate reproduce recover same comparable preserve identical restore par
best top strongest
beat outperform surpass exceed better superior
worse inferior lag behind
finetune train tune finetuning training
frozen fixed unchanged freeze
fast quick rapid speed
costly expensive
important matter critical crucial key essential vital
cause lead result due because reason
split chunk divide partition slice
move transfer evict offload
large big huge massive
small little tiny minor marginal slight
about approximately roughly nearly around almost
test evaluate assess measure examine
human person people
rater annotator judge
response answer reply output
question query prompt
component part element
hurt degrade harm worsen degradation lose loss lost
happen occur
choose select pick chosen
contain include cover comprise span
compute calculate computation calculation
begin start
single one
double twice
halve half
phone mobile smartphone
reliable trustworthy trusted trust
easy simple
hard difficult
footprint consumption usage requirement
consume take occupy
insert add attach
entire whole full complete
independent own individual separate
various different diverse
additional extra further
precise exact accurate
correct right true
wrong incorrect false
helpful useful beneficial help benefit improve improvement
publish release open
unclear uncertain unknown
recent new
forbid prohibit disallow
"""
_GROUPS: dict[str, frozenset[int]] = {}
for _number, _line in enumerate(_SAME_TEXT.strip().splitlines()):
    for _word in _line.split():
        _GROUPS[stem(_word)] = _GROUPS.get(stem(_word), frozenset()) | {_number}

_OPPOSITE_TEXT = """
increase increases increasing raise grow rise | reduce reduces lower decrease cut shrink drop fall falls decline
more most | less least fewer fewest
large larger largest big bigger | small smaller smallest
better best superior | worse worst inferior
improve improves improvement | degrade degrades degradation hurt hurts harm worsen
fast faster fastest | slow slower slowest
cheap cheaper cheapest inexpensive | expensive costly
easy easily | hard difficult
earlier first | later last
strength strong strongest | weakness weak weakest
double doubles doubled doubling | halve halves halved halving
frozen fixed freeze | updated trainable
rare rarely seldom | often common frequent frequently always
minor marginal | major substantial
same identical | different differs
symmetric | asymmetric
positive | negative
agree | disagree
possible | impossible
necessary required | unnecessary optional
reliable trustworthy | unreliable
minimum | maximum
"""
_OPPOSITES: dict[str, frozenset[str]] = {}
for _line in _OPPOSITE_TEXT.strip().splitlines():
    _one, _other = (frozenset(side.split()) for side in _line.split("|"))
    for _here, _there in ((_one, _other), (_other, _one)):
        for _word in _here:
            _OPPOSITES[_word] = _OPPOSITES.get(_word, frozenset()) | _there

_NEGATION_TEXT = "not no never cannot can't nor neither none without don't doesn't didn't isn't aren't"
_SOFT_TEXT = """
avoid avoids except fail fails failed forbid forbids free hardly barely impossible independent instead lack lacks
nothing only prevent prevents rather regardless unable unlike unrelated unclear little
"""
_UNIT_TEXT = "gb mb gib mib kb bit bits byte bytes percent hour hours day days minute minutes token tokens"
UNITS = frozenset(_UNIT_TEXT.split())

NEGATIONS = frozenset(_NEGATION_TEXT.split())
SOFT_NEGATIONS = frozenset(_SOFT_TEXT.split())
"""Words that can stand where another text has a "not"."""

CAUSES = re.compile(r"\b(because|due to|owing to|thanks to|as a result of|the reason)\b", re.IGNORECASE)
"""By which a sentence claims a reason."""
_REASON_TEXT = "because due since as so thus therefore hence owing caused causes reason result results leads making"
REASONS = frozenset(_REASON_TEXT.split())
"""By which a passage may give one."""

_SPEAKING_TEXT = """
author authors paper papers researcher researchers study team work technique term terms called call namely essentially
basically simply specifically typically usually generally overall summary simplified explanation short result results
first finally although though whereas while additionally moreover furthermore however therefore thus hence way ways
example instance
"""
_LIGHT_TEXT = """
take takes took taken single well reach reaches 1 assume
assumes assuming based use uses used need needs needed
give gives given have has list lists contain contains
bring brings brought leave leaves left follow follows come comes go goes make makes making turn turns put puts become
becomes remain remains stay stays seem seems appear appears tend tends provide provides offer offers involve involves
consider considers describe describes present presents introduce introduces help helps serve serves act acts
perform performs handle handles happen happens lie lies stand stands carry carries hold holds bear run runs set sets
place places occur ordinary regular normal normally current actual actually certain clear clearly considerable
considerably entirely especially exactly extremely greatly highly just largely main mainly merely much particularly
quite rather really significant significantly simple slightly somewhat still substantially truly very widely actual
afterwards already enough kind long many number others particular process several similar thing type various version
lead leads allow allows enable enables ensure ensures thereby improve improved efficient efficiently effective
effectively ability able also instead towards toward cause causes caused massive dramatic dramatically severe huge
tremendous remarkable themselves itself needed require requires required
"""
SPEAKING = frozenset(_SPEAKING_TEXT.split())
"""Words by which a summary speaks of its source or of itself; a passage need not have them."""
LIGHT = frozenset(_LIGHT_TEXT.split())
"""Words that hardly claim anything; a passage may lack one of them."""

_MORE = """alternative improves outperform beat surpass exceed better more higher superior larger greater faster
bigger stronger"""
_LESS = "worse less lower inferior smaller fewer slower weaker lag behind below underperform"
COMPARISONS = dict.fromkeys(_MORE.split(), 1) | dict.fromkeys(_LESS.split(), -1)


def alike(stem_: str) -> frozenset[int]:
    """The groups of words meaning the same that a stem is in."""
    return _GROUPS.get(stem_, frozenset())


@cache
def same(one: str, other: str) -> bool:
    """Whether two stems are equal or mean the same."""
    return one == other or bool(alike(one) & alike(other))


def opposites(word: str) -> frozenset[str]:
    """Words (not stems) that say the opposite of a word."""
    return _OPPOSITES.get(word, frozenset())


@cache
def comparison(word: str) -> int:
    """1 for a word by which one thing has more than another, -1 for less, else 0."""
    for form in (word, word.removesuffix("ed"), word.removesuffix("s"), word.removesuffix("ing")):
        if form in COMPARISONS:
            return COMPARISONS[form]
    return 0


def is_filler(word: str) -> bool:
    return word in STOP_WORDS or word in SPEAKING
