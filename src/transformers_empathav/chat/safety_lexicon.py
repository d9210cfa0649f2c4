r"""
English phrases in which a speaker says to be in acute danger: by suicide, by self-harm, by somebody else's violence.

The lexicon is of the kind of Jashinsky et al. 2014 (Crisis 35(1), 51-59, doi 10.1027/0227-5910/a000234): phrases by
risk, and phrases of everyday talk that do not count. Suicide is ordered by the steps of the Columbia-Suicide Severity
Rating Scale, from the wish to be dead to a plan (Posner et al. 2011, Am J Psychiatry 168(12), 1266-1277). Violence is
what "hurt" and "threaten" of the HITS screen ask for (Sherin et al. 1998, Fam Med 30(7), 508-512). All phrases are our
own.
"""

import re
import unicodedata


# Written out, so that a phrase stands once: "i'm", "im" and "i am".
WRITTEN_OUT = (
    (r"\bi ?'?m\b", "i am"),
    (r"\b(i|you|we|they)'?ve\b", r"\1 have"),
    (r"\b(i|you|he|she|they)'d\b", r"\1 would"),
    (r"\b(i|you|he|she|they|it)'ll\b", r"\1 will"),
    (r"\b(he|she|it|what)'s\b", r"\1 is"),
    (r"\bthey're\b", "they are"),
    (r"\bwo n'?t\b|\bwon'?t\b", "will not"),
    (r"\bcan'?t\b|\bcannot\b", "can not"),
    (r"\b(do|does|did|would|could|should|is|are|was|were|have|has|had)n'?t\b", r"\1 not"),
    (r"\bgonna\b", "going to"),
    (r"\bwanna\b", "want to"),
    (r"\banymore\b", "any more"),
    (r"\b(can|could) not (stop|help|resist) ", "keep "),  # the deed goes on: nothing is denied
)
# What everyday talk says with the same words, and mishaps. It is taken out before anything is looked for.
EVERYDAY = (
    r"(?:die|died|dying|dead|kill\w*) (?:\w+ )?(?:of |from |with )(?:embarrass\w*|laugh\w*|shame|boredom|hunger|heat)",
    r"(?:die|died|dying) (?:laughing|to|for)\b",
    r"(?:would )?rather die than\b",
    r"kill\w* (?:myself|me) (?:laughing|working|at work|at the gym|over|trying|to (?:get|finish|make|keep|pay))",
    r"would (?:\w+ )?kill myself if i had to (?:watch|eat|hear|listen|read|work|sit)\b",
    r"(?:mom|mum|mother|dad|boss|teacher|coach|wife|parents) (?:is|are|will|would|was)?(?: going to)? ?"
    r"(?:kill|murder) me",
    r"(?:shoot|shot|shooting) myself in the (?:foot|leg)",
    r"(?:hang|hung) myself (?:a|an|up|out)\b",
    r"(?:cut|cutting) myself (?:off|some|a|short|loose|out)\b",
    r"(?:cut|cuts|burn\w*|hurt\w*|scratch\w*|hit|stabb?\w*|injur\w*) (?:myself|my (?:own )?\w+) "
    r"(?:\w+ ){0,4}?(?:shav\w*|chop\w*|cook\w*|slic\w*|bak\w*|play\w*|running|ski\w*|train\w*|lift\w*|"
    r"climb\w*|fall\w*|by (?:accident|mistake)|on (?:the|a|an|my|some) (?:oven|stove|pan|iron|kettle|coffee|tea|glass|"
    r"paper|can|lid|tin|edge|thorn\w*|nail|bike|ice))\b",
    r"(?:burn\w*|tir\w*|wear\w*|wore) myself out\b|stabb\w+ in the back|chok\w+ up\b",
    r"(?:doctor|surgeon|nurse|dentist|barber|cat|dog|it) (?:\w+ ){0,2}?(?:cut|scratch\w*|bit|bites?|burn\w*) "
    r"(?:me|my \w+)",
    r"attack\w* me (?:\w+ )?(?:in the comments|online|verbally|on (?:twitter|facebook|reddit)|for\b|with love)",
    r"accidentally (?:\w+ ){0,2}(?:myself|my \w+)",
    r"suicide (?:squad|rates?|prevention|bomb\w*|hotline|awareness)",
    r"end (?:it all|everything) (?:with|between)\b",
    r"(?:take|taking) my (?:own )?life (?:more|less|too|so|very|seriously|back|into|in a)\b",
    r"\b(?:hit|hits|hitting) me (?:up|that|with (?:a|an|the) (?:question|offer|bill|text|message))\b",
    r"\b(?:beat|beats|beaten) me (?:at|to|in|by|on)\b",
    r"\b(?:kick|kicked|kicks) me (?:out|off)\b",
    r"beaten (?:at|in|by \d)",
    r"threaten\w* (?:me )?to (?:cancel|leave|quit|fire|sue|call|tell|sell|stop|break up)",
)
# Words between "i" and what is said, as long as nobody else comes in between.
OWN = r"(?:(?!(?:never|not|no|he|she|they|who|his|her|their|watch\w*|saw|read|heard|lost|knew)\b)\w+ ){0,6}?"
DEED = r"(?:(?!(?:never|not|nearly|almost|hardly|no)\b)\w+ ){0,4}?"  # words between somebody and the deed
KIN = (
    r"husband|wife|boyfriend|girlfriend|partner|fianc[eé]e?|ex|father|dad|daddy|mother|mom|mum|step\w+|brother|sister|"
    r"uncle|cousin|son|boss|roommate|flatmate|neighbou?r|teacher|coach|family|parents|owner|pimp"
)
SOMEBODY = (
    rf"\b(?:he|she|they|someone|somebody|my (?:\w+ ){{0,2}}?(?:{KIN})|the (?:man|guy|men|boys|guys)|a (?:man|guy))"
)
GOING = r"(?:if i (?:was|were|am) |if i |once i am )"

SUICIDE = (
    # the wish to be dead
    r"\bwish (?:that )?i (?:was|were) (?:dead(?! (?:asleep|tired|sure|set))|gone|not here|not alive|no longer)",
    r"\bi (?:had|was|were) never (?:been )?born",
    r"(?:sleep|asleep|bed)\b.{0,20}\bnever wak\w+ up",
    r"\b(?:not want to|never want to|hope i do not|hope i never|wish i would not) wake up"
    r"(?= (?:tomorrow|again|any ?more|ever|in the morning)|$)",
    r"\bnot (?:really )?want to (?:live|exist|be alive)(?= (?:any ?more|any longer|like this|now)|[ ,]*$)",
    r"\bnot (?:really )?want to be (?:here|around|in this world|on this earth|alive) (?:any ?more|any longer)",
    r"\b(?:want|wanting|ready|prefer|rather|hope|pray|deserve|plan\w*) (?:to )?(?:just )?(?:die|be dead)\b",
    r"\b(?:tired|sick) of (?:being alive|life|living(?= (?:any|like this|and|this life)\b|[ ,]*$))",
    rf"\bbetter off (?:{GOING})?(?:dead|gone|without me)",
    r"\b(?:happier|better|easier|best|relieved|glad) (?:off )?(?:if i (?:was|were|am) (?:dead|gone|not (?:here|around|"
    r"alive))|without me\b)",
    r"\b(?:no|not (?:see|have|find|know) (?:the|a|any)|what is the) (?:reason|point|sense|purpose) "
    r"(?:for me )?(?:to|in|of) (?:\w+ )?(?:go on|going on|keep going|live|living|alive|exist\w*)",
    r"\bnothing (?:left )?(?:for me )?(?:to live for|worth living)",
    r"\blife is (?:not|no longer) worth (?:living|it)",
    r"\b(?:done|finished|through) with (?:my |this )?(?:life|living)\b",
    r"\b(?:notice|miss me|care|cry|sad) if i (?:was |were )?(?:gone|dead|died|disappeared|killed|vanished)",
    r"\bnot care (?:if|whether) i (?:live|die|wake up|make it)",
    r"\bcan not (?:go on living|(?:live|go on) (?:like this )?any ?more)",
    r"\bi (?:\w+ ){0,3}?not (?:\w+ ){0,4}?(?:stay alive|survive (?:this|the) (?:night|week|month|winter|year)|"
    r"make it (?:through|to) (?:the )?(?:night|morning))",
    r"\b(?:no|lost (?:the|my|all)|without (?:the|any)) will to live\b|\bsleep forever\b",
    r"\bwhy (?:should|would|do) i (?:\w+ )?(?:keep |go on |stay |be )?(?:living|live|alive)\b",
    r"\b(?:join|follow|be with) (?:\w+ ){1,2}?(?:in heaven|in death|on the other side)",
    # thoughts
    rf"\bi {OWN}(?:suicidal|suicide)\b",
    r"\bmy suicid\w+|\bsuicidal (?:thoughts|feelings|urges)",
    r"\bkill(?:ing|ed)? myself\b",
    r"\bkms\b|\bunaliv\w+ myself|\b(?:to|just|will) (?:off|end) myself\b",
    r"\bend(?:ing)? (?:it all|it tonight|it today|it now|my (?:own )?(?:life|suffering|misery|pain))\b",
    r"\btak(?:e|ing) my (?:own )?life\b",
    r"\bwant (?:my life|this life|it all|everything) to (?:be over|end|stop)",
    r"\b(?:want|like|going|ready|wish i could) (?:to )?(?:disappear (?:forever|for good)|stop existing)",
    r"\b(?:rather|just|to) (?:just )?not exist\b",
    # method, intent, plan
    r"\bnoose\b|\b(?:ways?|how) to (?:die(?! in my)|kill myself)\b|\bhow many .{0,25}(?:pills|tablets)\b.{0,20}\btake",
    r"\bplan\w* (?:to|for|of) (?:die|dying|ending|end) ?(?:it|my life)?\b",
    r"\bmy last (?:night|day|message|goodbye)(?= (?:alive|on earth|ever)|[ ,]*$)",
    r"\b(?:roof|bridge|ledge|balcony|window|tracks)\b.{0,40}\bi .{0,20}\bjump",
    r"\b(?:hang|hung|hanging|hanged|shoot|shooting|drown\w*|poison\w*|overdos\w*|suffocat\w*|gas) myself\b",
    rf"\bi {OWN}(?:overdosed|overdose(?= (?:on|tonight|again)|[ ,]*$))",
    r"\b(?:took|take|taken|taking) an overdose",
    r"\b(?:tak\w+|took|swallow\w*) (?:\w+ ){0,3}?(?:all|too many|whole|every|handful|bottle) (?:\w+ ){0,4}?"
    r"(?:pills?|tablets?|meds|medication|paracetamol|tylenol)",
    r"(?:pills|tablets|medication|meds)\b.{0,60}\b(?:tak\w+|took|swallow\w*) (?:all of them|them all)",
    rf"\bi {OWN}(?:jump\w*|throw\w* myself|step\w*|walk\w*|lie|lying) (?:off|from|out of|into|in front of|under) "
    r"(?:\w+ )?(?:bridge|roof|building|cliff|window|balcony|trains?|bus|truck|lorry|traffic|platform|ledge)\b",
    r"\b(?:bridge|roof|ledge|edge|tracks|cliff)\b.{0,40}\bnot (?:\w+ ){0,3}?(?:come|coming|go|going|climb\w*) "
    r"(?:back|down|home)",
    r"\b(?:think\w*|thought|want|going|feel like|urge|plan\w*)\b.{0,12}\b(?:driv|steer|crash)\w* (?:\w+ ){0,2}?"
    r"(?:into|off) (?:a|the|an) (?:tree|wall|bridge|cliff|river|lake|oncoming|truck)",
    r"\b(?:wrote|written|writ\w+) (?:\w+ ){0,3}?(?:goodbye|suicide|farewell|final|last) (?:letter|note|message)",
    r"\b(?:letter|note|pills|rope|gun|blade|goodbye)\w*\b.{0,50}\bhow i (?:am going to|will|want to|would) do it",
    r"\bnot (?:going to )?be here (?:tomorrow|any ?more|much longer|next \w+)\b.{0,30}\b(?:good ?bye|farewell|sorry)",
    r"\b(?:gun|rope|noose|razor|blade)\b.{0,40}\b(?:want|going)\b.{0,20}\b(?:over|end it|die)\b",
)
SELF_HARM = (
    r"\b(?:cut|cutting|burn|burns|burned|burning|hurt|hurting|harm|harmed|harming|injur\w+|starv\w+|punish\w*|"
    r"scratching|mutilat\w+|hitting|punching|biting|stab|stabbing) myself\b",
    r"\bi (?:\w+ ){0,4}?(?:relapsed|slipped) and (?:cut|burn\w*)|\bfull of cuts\b|\bfresh cuts on my\b",
    r"\b(?:cigarettes?|lighter|iron) (?:out )?on my (?:own )?(?:arms?|skin|hands?|legs?|thighs?)",
    r"\b(?:i|my|urges?|feel\w*|want\w*) (?:\w+ ){0,5}?self[- ]?(?:harm\w*|injur\w*)",
    r"\b(?:cut|cutting|slit\w*|slash\w*|slic\w*|carv\w*) my (?:own )?"
    r"(?:arms?|wrists?|legs?|thighs?|skin|body|stomach|veins)",
    r"\b(?:stop|keep|started|start|back to|resist|urge to|want to|need to|going to) cut(?:ting)?(?= again|[ ,]*$)",
    r"\bi (?:\w+ ){0,4}?(?:hit|hits|hitting|bang\w*|slam\w*|punch\w*|scratch\w*|bite|biting)\b.{0,40}\buntil\b.{0,20}"
    r"\b(?:bleed\w*|bled|blood|broke|broken|bruis\w*|numb|hurts?)\b",
    r"\bi (?:\w+ ){0,3}?(?:cut|burn|scratch|starv|injur|hurt)\w* .{0,25}on purpose",
    r"\bdeserve (?:the|this|to feel) pain|\bdeserve to (?:suffer|bleed|hurt)",
    r"\b(?:blade|razor|lighter) (?:in my hand|(?:to|on|against) my (?:skin|wrist|arm))",
)
HARM = r"(?:kill|murder|stab|shoot|strangle|choke|hurt|beat|hit|drown|rape|burn)"
VIOLENCE = (
    rf"{SOMEBODY} {DEED}(?:hit|hits|hitting|beat|beats|beating|slap\w*|punch\w*|kick\w*|chok\w+|strangl\w+|stabb?\w*|"
    r"rap(?:ed|es|ing)|assault\w*|attack\w*|abus\w+|molest\w*|threaten\w*|stalk\w*|whip\w*|headbutt\w*) me\b",
    rf"{SOMEBODY} {DEED}(?:threaten\w*|tried|tries|trying|wants|wanted|said|says|swore|promised|going)\b.{{0,25}}"
    rf"\b{HARM} me\b",
    rf"\b(?:afraid|scared|terrified|worried|sure|said|says|think|told|swore)\b.{{0,25}}\b(?:will|would|going to|might|"
    rf"could) {HARM} me\b",
    r"\bi (?:was|am|am being|have been|got|get|keep getting) (?:(?!(?:never|not)\b)\w+ ){0,2}?(?:raped|beaten|abused|"
    r"assaulted|molested|stabbed|strangled|choked|punched|stalked|trafficked|held (?:captive|prisoner))",
    rf"\b(?:afraid|scared|terrified|frightened) of (?:him\b|her(?= (?:and|because|when|since|now)\b|[ ,]*$)|"
    rf"my (?:{KIN})\b|what (?:he|she|they) (?:will|would|might|could|may|can) do\b)",
    r"\bnot (?:feel |be )?safe (?:at home|with (?:him|her|them)|in my (?:own )?(?:home|house|room))",
    rf"{SOMEBODY} (?:is|gets?|becomes?|turns?) (?:\w+ )?(?:violent|abusive)\b",
    r"\bhiding (?:\w+ ){0,4}?(?:because|since|while|from)\b.{0,30}\b(?:knife|gun|bat|axe|violent|drunk|hit|hurt|"
    r"him|husband|boyfriend|partner|ex|father|dad|step\w+)\b",
    r"\b(?:me by (?:the|my)|around my|round my) (?:throat|neck|hair)\b",
    rf"{SOMEBODY} {DEED}(?:push\w*|shov\w*|threw|throws?|slam\w*|drag\w*) me (?:\w+ )?(?:against|into (?:the|a)|"
    r"down|onto|across|to the|by)\b",
    rf"{SOMEBODY} {DEED}(?:throws?|threw|throwing) (?:\w+ )?(?:things|plates|bottles|stuff|everything) at me\b",
    rf"{SOMEBODY} {DEED}(?:broke|breaks|twist\w*|fractur\w*) my (?:arm|wrist|nose|ribs?|jaw|leg|fingers?|tooth|teeth)",
    rf"{SOMEBODY} {DEED}(?:held|holds?|pins?|pinned) me (?:down|against)|{SOMEBODY} {DEED}pull\w* my hair",
    rf"{SOMEBODY} {DEED}rais\w* (?:his|her|a|their) (?:hand|fist)s? (?:at|against|to) me",
    rf"{SOMEBODY} .{{0,40}}\b(?:outside|door|after me|in the house)\b.{{0,40}}\b(?:knife|gun|bat|axe|machete|weapon)",
    rf"\bmy abusive (?:{KIN})\b|\bin an abusive (?:relationship|marriage|home)",
    r"\bvictim of (?:domestic )?(?:abuse|violence)",
    rf"{SOMEBODY} {DEED}lock(?:s|ed|ing)? me (?:in|up|inside)\b",
    r"\b(?:will not|would not|does not|never|refus\w+ to) lets? me (?:leave(?! (?:early|work))|go out|out of the)",
    rf"{SOMEBODY} {DEED}(?:touch\w*|grop\w*|forc\w+) me (?:\w+ ){{0,3}}?(?:at night|sexual\w*|to have sex|to sleep "
    r"with|without|in my (?:bed|sleep|room)|inappropriate\w*|down there)",
    rf"{SOMEBODY} {DEED}(?:follow\w*) me (?:home|to work|in the dark)",
    r"\b(?:gun|knife) (?:to|at|on) (?:my|me)\b|\b(?:point|pull)\w* (?:a|the|his) (?:gun|knife)",
)
KINDS = {"suicide": SUICIDE, "self-harm": SELF_HARM, "violence": VIOLENCE}
# Before what is said and in the same part of the sentence: it is denied ...
DENIED = re.compile(r"\b(?:not|never|no|without|nobody|none|neither|nor|stopped|instead of)\b(?P<then>.*)$")
# ... unless what is denied is the hold on it: "I can not stop ...", "I do not know if I can keep myself from ...".
HOLD = re.compile(
    r"\b(?:stop|help|resist|keep|prevent|know|sure|promise|wait|why|only|fight|see|escape|deny|lie|trust)\b"
)
PARTS = re.compile(r",|:| - |\b(?:but|because|so|and then|and i|although|though|since|yet)\b")
PAST = re.compile(
    r"\b(?:i|he|she|they|\w+) used to\b|\byears ago\b|\bback then\b|"
    r"\b(?:when i was|when we were|as) (?:a |an )?(?:kids?|child\w*|teen\w*|little|small|young\w*|girls?|boys?|"
    r"students?|\d+|five|six|seven|eight|nine|ten|in (?:school|college))\b"
)
STILL = re.compile(r"\b(?:again|still|today|tonight|lately|these days|right now|any ?more)\b")
PATTERNS = {kind: [re.compile(phrase) for phrase in phrases] for kind, phrases in KINDS.items()}
TALK = re.compile("|".join(EVERYDAY))


def danger_in(text: str) -> str | None:
    r"""
    The kind of danger that a speaker says to be in: `"suicide"`, `"self-harm"`, `"violence"`, or `None`.

    What is denied, what is told of others and what is long past does not count.

    Args:
        text (`str`): English, as written or as a recogniser of speech writes it.
    """
    sentences = [TALK.sub(" ", sentence) for sentence in re.split(r"[.!?;\n]+", plain(text))]
    for kind, patterns in PATTERNS.items():
        for sentence in sentences:
            for pattern in patterns:
                if any(counts(sentence, found) for found in pattern.finditer(sentence)):
                    return kind
    return None


def counts(sentence: str, found: re.Match) -> bool:
    """Whether what was found is neither denied nor long past."""
    if PAST.search(sentence) and not STILL.search(sentence):
        return False
    denied = DENIED.search(PARTS.split(sentence[: found.start()])[-1])
    return denied is None or HOLD.search(denied["then"] + found[0]) is not None


def plain(text: str) -> str:
    """Small letters, straight apostrophes, single spaces, contractions written out."""
    text = unicodedata.normalize("NFKC", text).lower().replace("’", "'").replace("‘", "'").replace("`", "'")
    text = "".join(sign for sign in text if unicodedata.category(sign) != "Cf")
    for short, long in WRITTEN_OUT:
        text = re.sub(short, long, text)
    return re.sub(r"[^\S\n]+", " ", text).strip()
