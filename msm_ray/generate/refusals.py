"""Refusals told from documents that begin like one: "I'm sorry I have not written for so long, dear Ruth." is a letter.

A refusal says that its writer cannot or will not do what was asked, and speaks of that as "this", "that", "your request" or
"content that ..."; a letter's "I cannot" has an object of its own. Where a short answer has nothing of what the prompt asked
for, less is enough.
"""

from __future__ import annotations

import re

MOST_WORDS, MOST_WORDS_ALONE = 250, 150
"""Words of a refusal at most: within what was asked for, and instead of it."""

_AS_AN_AI = r"as an? (?:ai|a\.i\.|artificial|(?:large )?language)\b"
_APOLOGY = (
    r"(?:(?:i['’]?m|i am|we['’]?re|we are)\s+(?:very\s+|so\s+|really\s+|truly\s+)?(?:sorry|afraid)|sorry"
    r"|(?:i|we)\s+(?:do\s+|must\s+)?apologi[sz]e|(?:my )?apologies|unfortunately|regrettably|i regret|no"
    r"|i (?:have|want|need|should)(?: to)? be (?:honest|direct|upfront|transparent|clear)[^.!?\n:]{0,20}"
    rf"|(?:i understand|i appreciate|thanks|thank you)[^.!?\n]{{0,80}}|{_AS_AN_AI}[^.!?\n,]{{0,60}})"
    r"(?:\s+for [^.!?,\n]{0,40})?[\s,.;:!—–-]*(?:but|however|that|and)?[\s,]*"
)
_NOT = (
    r"can['’]?t|cannot|can not|could ?n['’]?t|won['’]?t(?: be able to)?|will not(?: be able to)?|would ?n['’]?t"
    r"|should(?: not|n['’]t)"
    r"|do(?: not|n['’]t) (?:feel comfortable|think i (?:can|should)|want to)"
    r"|(?:not|un)\s?(?:able|comfortable|willing|going)(?: to)?"
    r"|(?:['’]d|would) (?:rather not|prefer not to)|must not"
    r"|(?:must|have to|need to|will have to|['’]ll have to|going to|will)?\s*(?:respectfully |politely )?(?:decline|refuse)"
)
_UNABLE = (
    rf"(?:i|we)\s*(?:['’]m|['’]re|am|are)?\s*(?:just |simply |really |afraid i |sorry,? but i )*(?:{_NOT})\s*(?:to )?"
)
_VERB = r"(?:help|assist|writ|compl|creat|produc|fulfil|provid|generat|continu|support|engage|draft|compos|proceed)\w*"
_TASK = rf"(?:{_VERB}\s*(?:you\s*)?(?:with |on |to |in |about )?(?:{_VERB}\s*)?)?"
_TEXT = r"(?:document|content|text|piece|request|task|prompt|material|story|article)"
_ASKED = (
    r"(?:(?:this|that|these|those)\s*(?:(?:letter|memo|story|article|piece)?\s*(?:[.!,;:—–-]|$|for you|because|as\b|since\b)"
    r"|one\b|kind|sort|type|particular|request|task|prompt|document|text|content|material|specification)"
    rf"|your (?:request|prompt|task|instructions?)|the (?:requested|{_TEXT} (?:you|as|described))\b"
    rf"|(?:an?|any) {_TEXT} (?:that|which|like|in which|of (?:this|that))|such (?:an? )?{_TEXT}"
    r"|(?:documents?|content|texts?|material)\s+(?:that|which|like|of this|about))"
)
_CONFLICTS = (
    r"(?:this|that|the|your) (?:request|prompt|task|document|specification)\b[^.!?\n]{0,80}?\b"
    r"(?:violates|goes against|conflicts with|is not something|isn['’]t something|falls outside|asks me to)"
)
REFUSAL = re.compile(rf"^\W*(?:(?:{_APOLOGY})?{_UNABLE}{_TASK}{_ASKED}|{_APOLOGY}{_CONFLICTS})", re.IGNORECASE)
REFUSAL_OF_AN_AI = re.compile(
    rf"^\W*(?:(?:i['’]?m|i am) sorry,? but )?{_AS_AN_AI}[^.!?\n]{{0,60}}?,? i\b\s*"
    r"(?:['’]m|am)?\s*(?:not|un|can['’]?t|cannot|do not|don['’]t|won['’]?t|must|have to)",
    re.IGNORECASE,
)
ALONE = re.compile(
    rf"^\W*(?:{_APOLOGY}){_UNABLE}"
    rf"|^\W*{_UNABLE}(?:{_VERB}|do)\b|^\W*i\b[^.!?\n]{{0,30}}\b(?:decline|refuse)\b"
    rf"|^\W*{_CONFLICTS}",
    re.IGNORECASE,
)
"""Of a short answer that has nothing of what was asked for."""
OTHER_LANGUAGES = re.compile(
    r"^\W*(?:(?:很|非常|十分|真的|真)?(?:抱歉|对不起|遗憾|不好意思)[^。！!\n]{0,30}(?:我|无法|不能|没法)"
    r"|我(?:无法|不能)(?:提供|协助|满足|完成|回答|帮|撰写|生成)"
    r"|申し訳(?:ありません|ございません)[^\n]{0,30}(?:できません|致しかねます|お答え)"
    r"|죄송(?:합니다|하지만)[^\n]{0,40}(?:없습니다|수 없)"
    r"|lo siento,? pero no puedo|je suis désolée?,? mais je ne (?:peux|suis)"
    r"|es tut mir leid,? (?:aber )?(?:ich kann|das kann ich)"
    r"|(?:извините|простите|к сожалению),? (?:но )?я не могу|desculpe,? mas (?:eu )?não posso|mi dispiace,? ma non posso)",
    re.IGNORECASE,
)
LETTER = re.compile(
    r"\bdear(?:est)? \w|^(?:yours|love|sincerely|warmly|with love|best|kind regards|regards)\b[^.\n]{0,30},?\s*$",
    re.IGNORECASE | re.MULTILINE,
)
"""What only a letter has: who it is to, how it ends."""
QUOTED = re.compile(r"^\s*[\"“«„'‘].*[\"”»“'’]\s*\S", re.DOTALL)
"""Somebody's words, after which the text goes on."""


def is_refusal(text: str, *, whole: bool) -> bool:
    """Whether a text is the writer's refusal. whole: it is the whole answer, which holds nothing of what was asked for."""
    words = text.split()
    begins = " ".join(words[:MOST_WORDS])
    if len(words) > MOST_WORDS or QUOTED.match(begins) or LETTER.search(text):
        return False
    if REFUSAL.match(begins) or REFUSAL_OF_AN_AI.match(begins) or OTHER_LANGUAGES.match(begins):
        return True
    return whole and len(words) <= MOST_WORDS_ALONE and bool(ALONE.match(begins))
