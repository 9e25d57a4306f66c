"""Which language is a text in? By script, and for Latin letters by function words.

A text is taken for English unless it shows clearly that it is not, so names, code, formulas and gibberish count as
English: the refusal rules find nothing in them, and what is wrong with them is for the other parts of the judge to say.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

ENGLISH, UNKNOWN = "English", "unknown"

_SCRIPTS = {
    "CYRILLIC": "Russian", "ARABIC": "Arabic", "DEVANAGARI": "Hindi", "HANGUL": "Korean", "HIRAGANA": "Japanese",
    "KATAKANA": "Japanese", "CJK": "Chinese", "THAI": "Thai", "HEBREW": "Hebrew", "GREEK": "Greek",
    "BENGALI": "Bengali", "TAMIL": "Tamil", "TELUGU": "Telugu", "GUJARATI": "Gujarati", "GURMUKHI": "Punjabi",
    "KANNADA": "Kannada", "MALAYALAM": "Malayalam", "SINHALA": "Sinhala", "KHMER": "Khmer", "LAO": "Lao",
    "MYANMAR": "Burmese", "GEORGIAN": "Georgian", "ARMENIAN": "Armenian", "ETHIOPIC": "Amharic", "TIBETAN": "Tibetan",
    "ORIYA": "Odia",
}  # fmt: skip
"""First word of a letter's Unicode name -> the language mostly written so."""

_RELATIVES = {
    "Russian": (
        ("Kazakh", "[әғқңұ]"),
        ("Ukrainian", r"[іїєґ]|\b(?:цьому|цього|вибачте|допомогти|можу|але|що|це)\b"),
        ("Belarusian", "ў"),
        ("Serbian", "[ђјљњћџ]"),
        ("Bulgarian", r"\b(?:съм|мога|това|че|се|ще|към|със|помогна|съжалявам)\b"),
    ),
    "Arabic": (("Urdu", "[ٹڈڑےںہ]"), ("Persian", "[پچژگیک]")),
    "Hindi": (
        ("Marathi", r"(?<![\w\u0900-\u097f])(?:आहे|आणि|नाही|आहेत|शकत)(?![\w\u0900-\u097f])"),
        ("Nepali", r"(?<![\w\u0900-\u097f])(?:छ|सक्दिन|सक्दैन|गर्न|हुन्छ|थियो)(?![\w\u0900-\u097f])"),
    ),
}
"""Languages of one script, by letters and words that the first one has not."""

_WORDS = {
    ENGLISH: "the of and to in is that it for was on are as with be at this have from or by not but what all were we "
    "when your can there an which their if will each about how up out them then she he many some so these would "
    "other into has more her two like him see could no make than been its who now my made did you i do cannot can't "
    "i'm don't won't sorry help that's it's they where after before over just also because does had his me our us "
    "any use using used first",
    "Spanish": "hola cómo estás gracias qué el la los las de que y en un una es no por con para se lo su como más "
    "pero al del este esta son puedo ayudar ni está tu te si mi o muy ser hay siento puede sus cuando también eso "
    "nos le todo esto porque donde desde hasta sin sobre ayudarte información voy soy tengo debe entre",
    "French": "le la les des et est une un du en que qui dans pour pas je ne ce sur avec plus par au vous il elle "
    "sont mais nous votre cette ou se peux aux désolé suis être sa son ses comme il y c'est j'ai n'est l'on très "
    "fait ces leur puis tout aussi bien cela à même sans si tu te",
    "German": "der die das und ist nicht ich ein eine zu den mit von auf für im sie es dem auch als an aus wie bei "
    "sich kann leider aber oder nach wird sind hat einen einer dass ihnen dir mir wir du nur noch wenn man um am des "
    "dies diese dabei so durch über können werden keine kein mich dich haben zum zur tut leid bitte",
    "Portuguese": "o a os as de que e em um uma é não por com para se do da dos das no na como mais mas ao você "
    "posso são está seu sua isso ou muito foi tem eu nos pelo pela quando também desculpe ajudar lo sinto esse essa "
    "este esta até sem já sobre há entre ele ela",
    "Italian": "il lo la i gli le di che e in un una è non per con del della dei delle si sono come più ma al alla "
    "nel nella questo questa posso mi dispiace anche essere da ho o se tuo suo puoi aiutarti perché ci ti sul dal "
    "molto cosa quando fino tra senza dopo ogni",
    "Turkish": "isteği yerine getiremem konuda edemem yardım lütfen ve bir bu için de da ile ne daha çok var gibi "
    "olarak en olan yok ama ben sen size değil kadar sonra üzgünüm yardımcı olamam konuda önce veya hem nasıl edin "
    "ediniz ekleyin dakika her",
    "Polish": "i w nie na z się do to że jest o jak ale po za od co tak przez przepraszam mogę właśnie być czy tego "
    "pomóc oraz można przed są dla już tylko lub następnie minut jestem przykro",
    "Dutch": "de het een en van is dat niet ik op te voor met zijn die er aan om ook als naar bij maar kan uit dit "
    "je wordt worden deze geen spijt mij helpen kunt heeft nog door tot over wel u uw was hij ze hebt het spijt "
    "daarna",
    "Vietnamese": "và là của không có các một cho với được này tôi xin lỗi bạn trong nhưng để thể giúp những khi "
    "người đó về",
    "Indonesian": "ibu kota dengan negara terbesar yang dan di tidak untuk dengan ini dari itu dalam saya maaf bisa "
    "pada anda adalah ke akan atau dapat membantu karena juga oleh sebagai sudah ada lebih tetapi kami kita hari "
    "selama air tersebut",
    "Swedish": "och att det som en på är av för med inte den till jag har om ett men kan du dig hjälpa tyvärr sig "
    "eller från vid var ska så mig med det när sedan",
    "Danish": "og at det som en på er af for med ikke den til jeg har om et men kan du dig hjælpe desværre eller fra "
    "ved skal så mig hvad når være der også beklager",
    "Norwegian": "og at det som en på er av for med ikke den til jeg har om et men kan du deg hjelpe dessverre eller "
    "fra ved skal så meg hva når være også beklager",
    "Finnish": "ja on ei että se en voi olen auttaa pahoillani tämä mutta kun niin myös tai ovat sen ole hän siinä "
    "mitä valitettavasti tässä kuin jos sekä",
    "Czech": "a se na je v že to s z do o i jsem ale jako za by pro tak po mohu vám pomoci omlouvám nemůžu jsou nebo "
    "jak které tím bohužel k tento bude jeho při",
    "Romanian": "și de la în nu o a cu pe un să este că din pentru mai sunt dar îmi pare rău ajuta ajut acest "
    "această te ce care fi sau am au se după",
    "Hungarian": "a az és nem hogy egy is ez van de meg csak mint sajnálom tudok segíteni ebben vagy ha volt be ki "
    "el ezt még lehet majd között",
    "Croatian": "i je u na se da za od su ne s to koji kao ili ali mogu žao mi pomoći nije bi što smo vam biti će "
    "tome tim nakon",
    "Catalan": "i el la els les de que en un una és no per amb però del dels al això puc ho sento ajudar són més com "
    "també aquest aquesta perquè fins",
    "Tagalog": "ang ng sa na mga ay at ko hindi ka po ito para kung ako paumanhin pasensya matulungan kita mo nang "
    "siya may iyong ngunit maaari ako",
    "Swahili": "na ya wa kwa ni katika la za hii kuwa siwezi samahani kukusaidia cha hilo ili au lakini huo hiyo "
    "watu kama sana",
    "Malay": "yang dan di tidak untuk dengan ini dari itu dalam saya maaf boleh pada anda adalah ke akan atau dapat "
    "membantu kerana juga oleh sebagai telah ada lebih tetapi kami kita",
}
_TABLES = {
    name: frozenset(word for word in words.split() if len(word) > 1 or name == ENGLISH or not word.isascii())
    for name, words in _WORDS.items()
}
_SHARED = Counter(word for words in _TABLES.values() for word in words)
_ONLY_ENGLISH = frozenset(word for word in _TABLES[ENGLISH] if _SHARED[word] == 1)
_MARKS = {
    "Spanish": "ñ¿¡", "German": "ß", "Portuguese": "ãõ", "Turkish": "ğış", "Polish": "ąęłżśćź", "Romanian": "ățș",
    "Hungarian": "őű", "Czech": "řěů", "Vietnamese": "ơưđạảấầậắặẻẽếềểệỉịọỏốồổộớờợụủứừửữựỳỵỷỹ", "Croatian": "đ",
}  # fmt: skip
"""Letters that only some languages have."""

_COVERED = ("Spanish", "French", "German", "Portuguese", "Italian")
_COMMON = frozenset("áéíóúâêîôûàèìòùãõäëïöüñçßœæ")
"""Letters that these five have."""

_LETTERS = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_LOOK = 120
"""Words that are looked at."""


def language(text: str) -> str:
    """The language's English name; ENGLISH for what shows no language; UNKNOWN for one that is none of those known."""
    pieces = text[: 10 * _LOOK].lower().split()[:_LOOK]
    ascii_only = text.isascii()
    if ascii_only and sum(piece in _TABLES[ENGLISH] for piece in pieces) > 0.3 * len(pieces):
        return ENGLISH
    if not ascii_only and (name := _by_script(text)):
        return name
    found = _LETTERS.findall(text[: 10 * _LOOK])[:_LOOK]
    words = [word.lower() for word in found if word[1:].islower() or len(word) == 1 or word.isupper()]
    if len(words) < 2:
        return ENGLISH
    english = sum(word in _TABLES[ENGLISH] for word in words)
    if english > 0.45 * len(words):
        return ENGLISH
    seen = Counter(words)
    counts = {name: sum(seen[word] for word in table & seen.keys()) for name, table in _TABLES.items()}
    if counts[ENGLISH] > 0.3 * len(words) and counts[ENGLISH] == max(counts.values()):
        return ENGLISH
    scores = {name: sum(seen[word] / _SHARED[word] for word in table & seen.keys()) for name, table in _TABLES.items()}
    if not ascii_only:
        for name, letters in _MARKS.items():
            scores[name] += 0.5 * sum(any(c in word for c in letters) for word in words)
    best = max(scores, key=lambda name: (scores[name] + counts[name], name == ENGLISH))
    if best == ENGLISH or scores[best] + counts[best] < 1.5 * (scores[ENGLISH] + counts[ENGLISH]):
        return ENGLISH
    different = len(_TABLES[best] & seen.keys())
    marked = scores[best] - sum(seen[word] / _SHARED[word] for word in _TABLES[best] & seen.keys()) > 0
    least = (2 if best in _COVERED or marked else 3) if len(words) < 12 else 4
    if different >= least and counts[best] >= 0.24 * len(words) and scores[best] >= 0.6:
        return best
    if marked and different >= 1 and scores[best] >= 1.4 and counts[ENGLISH] <= different:
        return best
    strange = any(c > "\x7f" and c not in _COMMON for word in words for c in word)
    accents = sum(not word.isascii() for word in words)
    return UNKNOWN if strange and len(words) >= 8 and accents >= 0.2 * len(words) and not counts[ENGLISH] else ENGLISH


def english_words(text: str) -> int:
    """How many different words that are English alone are among the first words."""
    return len({piece.strip(".,!?;:'\"()") for piece in text[: 10 * _LOOK].lower().split()} & _ONLY_ENGLISH)


def _by_script(text: str) -> str:
    """The language of a text mostly in other letters than Latin ones; "" for others."""
    found: Counter[str] = Counter()
    for char in text[:2000]:
        if char.isalpha():
            found["LATIN" if char < "\u0250" else unicodedata.name(char, "").partition(" ")[0]] += 1
    latin = found.pop("LATIN", 0) + found.pop("MODIFIER", 0) + found.pop("MATHEMATICAL", 0) + found.pop("FULLWIDTH", 0)
    if not found:
        return ""
    script, n = found.most_common(1)[0]
    total = found.total()
    # A character of these says as much as two letters or more.
    weight = 2 if script in ("CJK", "HIRAGANA", "KATAKANA", "HANGUL") else 1
    if n < 2 or weight * total < latin or (script == "GREEK" and total < 8):
        return ""
    if found["HIRAGANA"] + found["KATAKANA"] > 0.05 * total and script in ("CJK", "HIRAGANA", "KATAKANA"):
        return "Japanese"
    name = _SCRIPTS.get(script, UNKNOWN)
    return next((other for other, shows in _RELATIVES.get(name, ()) if re.search(shows, text[:2000], re.I)), name)
