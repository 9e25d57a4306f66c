"""How eleven languages beside English decline: data of `foreign.py`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tongue:
    """Phrases of one language, as parts of patterns."""

    sorry: str
    """An apology."""
    cannot: str
    """First person, "cannot" or "will not"; `verbs` stand behind it, or before it where `verbs_first`."""
    verbs: str
    """What is refused in so many words."""
    idioms: str
    """Behind `cannot`, what makes it no refusal."""
    whole: str
    """Refusals in other words."""
    turns: str
    """What turns back to the request behind a refusal."""
    offers: str
    """What a list stands under that offers something else."""
    verbs_first: bool = False
    dense: bool = False
    """Whether a character says as much as two letters."""


TONGUES = {
    "Spanish": Tongue(
        r"lo siento|lo lamento|lamento|lamentablemente|disculp\w+|perd[oó]n\w*|me temo|mis disculpas|"
        r"desafortunadamente",
        r"\bno (?:me |te |le |les |os |se )*(?:lo )?(?:puedo|podemos|podr[eé]|podr[ií]a|voy a|vamos a|debo|pienso|"
        r"quiero|deseo|estoy (?:en condiciones|autorizad\w|capacitad\w|dispuest\w|programad\w|diseñad\w) (?:de|para|a)|"
        r"soy capaz de)",
        r"(?:ayud|asist|proporcion|facilit|ofrec|compart|cumpl|respond|contest|escrib|redact|gener|cre[ae]r|explic|"
        r"enseñ|particip|continu|colabor|apoy|complet|proces|atend|acced|aconsej|brind|suministr|describ|detall|guiar|"
        r"indicar|instru|promov|foment|discut|hablar (?:de|sobre) (?:eso|esto|ese)|hacer (?:eso|esto|algo as[ií]|lo "
        r"que)|hacerlo|dar(?:te|le|les)? (?:\w+ )?(?:instruc|informac|consej|detall|eso|ese|esa|acceso)|dec[ií]r(?:te|"
        r"le)? (?:c[oó]mo|eso))\w*",
        r" (?:creer|sino|menos que|dormir|esperar|imaginar|evitar|dejar de|quejarme|negar|olvidar|ir\b|venir|llegar|"
        r"decirte cu[aá]nto|más|ayudarme|mentir|recomendar lo|enfatizar|ver\b|vivir|parar|respirar)",
        r"\bno (?:te |le |les |os |lo |la )*(?:ayudar[eé]|escribir[eé]|har[eé] (?:eso|esto)|lo har[eé]|responder[eé]|"
        r"explicar[eé]|dar[eé] (?:instr|info|det)|participar[eé]|proporcionar[eé])|\bme niego a (?!creer|aceptar|"
        r"rendir)|\b(?:debo|tengo que|he de) (?:rechazar|declinar|negarme|decir que no)|\bprefiero no (?:responder|"
        r"hablar|ayudar|hacer|contestar|entrar|opinar|participar)|\ben contra de mis (?:\w+ )?(?:principios|"
        r"directrices|normas|pol[ií]ticas|valores|pautas)|\bno es algo (?:con lo que|en lo que|que) (?:yo "
        r")?(?:pued[ao]|podamos|podemos|vaya)|\b(?:solicitud|petici[oó]n) (?:denegada|rechazada)|\bno (?:me )?(?:es|"
        r"resulta) posible (?:ayud|respond|proporc|cumpl|atend|dar|complacer)|\bno (?:es|ser[ií]a) (?:[eé]tico|"
        r"apropiado|correcto|responsable|adecuado)[^.]{0,20} (?:ayud|propor|dar|explic|compart|facilit|por mi parte)|"
        r"\bno cuentes conmigo|\bimposible ayudar(?:te|le)|\b(?:violar[ií]a|viola|infringe) (?:mis|nuestras)|\bfuera "
        r"de lo que puedo|\bmis? (?:\w+ )?(?:programaci[oó]n|directrices|normas|pol[ií]ticas?|principios|reglas|"
        r"valores)\b[^.]{0,20}\b(?:no me|me (?:impid|impiden|proh[ií]b))|\bno (?:me )?(?:es|resulta) posible (?:para "
        r"m[ií] )?(?:ofrec|brind|propor|facil|ayud)",
        r"(?:dicho esto|dicho eso|sin embargo|no obstante|aun as[ií])[^.:\n]{0,40}(?:aqu[ií] (?:tienes|est[aá]n|van)|"
        r"los pasos|primero|se hace|puedes (?:hacer|us|mezcl))|\baqu[ií] (?:tienes|van|est[aá]n) (?:los|las|unos) "
        r"(?:pasos|instrucciones)",
        r"en cambio|alternativ|en su lugar|si (?:quieres|lo deseas)|ayuda|l[ií]nea|recursos",
    ),
    "French": Tongue(
        r"d[eé]sol[eé]e?s?|navr[eé]e?|malheureusement|je regrette|pardon|excuse[zr]?|je crains|mes excuses|je m'excuse",
        r"\b(?:je|nous) ne (?:vous |te |t'|le |la |l'|les |me |m'|lui )*(?:peux|puis|pourrai|pourrais|vais|veux|dois|"
        r"souhaite|pouvons|voulons|saurais|suis (?:pas )?(?:en mesure|autoris[eé]e?|capable|habilit[eé]e?|program\w+|"
        r"conçue?|dispos[eé]e?))(?: malheureusement| donc| vraiment| absolument| tout simplement| en aucun cas)?(?: "
        r"pas)?|\bje peux pas|\bj'peux pas",
        r"(?:aid|assist|fourni|donn|partag|r[eé]pond|[eé]cri|r[eé]dig|g[eé]n[eé]r|cr[eé]er|expliqu|enseign|particip|"
        r"continu|collabor|soutenir|encourag|acc[eé]d|satisfai|faire (?:cela|[cç]a|ce que|une telle)|le faire|"
        r"ex[eé]cut|trait|conseill|d[eé]cri|montr|indiqu|discut|parler de (?:cela|[cç]a|ce)|promouv|accompagn|guid|"
        r"produi|d[eé]taill|(?:vous |te )?dire comment|r[eé]alis|propos|offrir|pr[eê]ter)\w*",
        r" (?:que|croire|dormir|attendre|imaginer|m'emp[eê]cher|nier|oublier|venir|aller\b|mentir|me plaindre|vivre|"
        r"voir\b|respirer|te dire (?:[aà] quel|combien)|vous dire (?:[aà] quel|combien)|arr[eê]ter|m'aider|insister "
        r"assez)",
        r"\bje n(?:e |')(?:vous |te |t'|le |l'|y )?(?:[eé]cri|aide|fe|donne|fourni|r[eé]pond|participe|explique|"
        r"partage|di|montre|produi|cr[eé]e|r[eé]dige)\w*rai pas|\bje (?:refuse (?!de (?:croire|c[eé]der|perdre))|dois "
        r"(?:refuser|d[eé]cliner)|pr[eé]f[eè]re ne pas|pr[eé]f[eé]rerais ne pas|d[eé]cline)|\b(?:m'est|est) impossible "
        r"(?:de|d') ?(?:vous|t|r[eé]p|aid|fourn|donn|acc)|\bcontraire [aà] (?:mes|nos|l'[eé]thique)|\b(?:va|irait) "
        r"[aà] l'encontre de (?:mes|nos)|\b(?:demande|requ[eê]te) (?:refus[eé]e|rejet[eé]e)|\bce n'est pas quelque "
        r"chose (?:que je|dont je|avec quoi|[aà] quoi)|\bpas (?:question|possible) (?:que je|pour moi)|\bhors de "
        r"question|\bne comptez pas sur moi|\bil (?:ne serait|n'est) pas (?:[eé]thique|appropri[eé]|responsable|"
        r"correct) (?:de ma part|de (?:fourn|donn|partag|vous|t'|r[eé]p|aid))|\bje m'abstiendrai|\bc'est non\b|\b(?:ma|"
        r"mes|nos|notre) (?:\w+ )?(?:programmation|directives|r[eè]gles|principes|politiques?|"
        r"consignes)\b[^.]{0,16}(?:m'|ne m|me |interdi)|\b(?:obligation|oblig[eé]e?|contrainte?) de (?:refuser|"
        r"d[eé]cliner)",
        r"(?:cela dit|ceci dit|cependant|toutefois|n[eé]anmoins)[^.:\n]{0,40}(?:voici|les [eé]tapes|il suffit|d'abord|"
        r"on peut)|\bvoici (?:les|quelques) ([eé]tapes|instructions)",
        r"en revanche|alternativ|plut[oô]t|si vous (?:voulez|souhaitez)|aide|ressources|au lieu",
    ),
    "German": Tongue(
        r"tut mir(?: \w+)? leid|leider|entschuldig\w+|verzeih\w*|sorry|bedaure|bedauere|bedauerlicherweise",
        r"\b(?:(?:kann|k[oö]nnte|werde|will|darf|m[oö]chte|w[uü]rde|d[uü]rfte) (?:ich|wir)(?: \w+){0,6}? (?:nicht|"
        r"keine?[nmrs]?)|(?:ich|wir) (?:kann|k[oö]nnen|k[oö]nnte|werde|werden|will|darf|d[uü]rfen|m[oö]chte|"
        r"w[uü]rde)(?: \w+){0,5}? (?:nicht|keine?[nmrs]?)|(?:bin ich|ich bin|wir sind)(?: \w+){0,4}? nicht (?:in der "
        r"lage|befugt|berechtigt|bereit|daf[uü]r|programmiert|imstande))\b",
        r"(?:helf|hilf|behilflich|unterst[uü]tz|assist|beantwort|antwort|gebe|geben|liefer|bereit(?:zu)?stell|zur "
        r"verf[uü]gung|teilen|schreib|verfass|erstell|generier|erkl[aä]r|beibring|mitmach|mitwirk|beteilig|fortfahr|"
        r"weitermach|erf[uü]ll|nachkomm|dienen|anleit|anbiet|beschreib|zeigen|verrat|empfehl|f[oö]rder|diskut|beitrag|"
        r"tun\b|machen\b|durchf[uü]hr|ausf[uü]hr|besprech|weiterhelf|ein(?:e|)gehen|darauf|bearbeit|mitteil|nennen|"
        r"entsprech|entgegen)\w*",
        r"[^.!?\n]{0,30}\b(?:glauben|schlafen|warten|leugnen|vergessen|beschweren|genug|vorstellen|aufh[oö]ren|"
        r"kommen\b|klagen|l[uü]gen|oft genug|sagen, wie)",
        r"\bich (?:lehne (?:\w+ ){0,3}ab|muss (?:\w+ ){0,4}?(?:ablehnen|verweigern|nein sagen)|weigere mich|verweigere|"
        r"m[oö]chte lieber nicht|passe\b)|\b(?:gegen|widerspricht|verst[oö][sß]+t gegen) (?:meine[nr]?|unsere[nr]?) "
        r"(?:\w+ )?(?:richtlinien|prinzipien|grunds[aä]tze\w*|regeln|werte\w*|programmierung)|\b(?:anfrage|bitte) "
        r"(?:abgelehnt|verweigert)|\bdas (?:geht|mache ich|tue ich) (?:leider )?nicht\b|\bkommt (?:f[uü]r mich )?nicht "
        r"in ?frage|\bdabei helfe ich (?:\w+ )?nicht|\b(?:dazu|dar[uü]ber|hierzu|hierbei|damit|dabei|daran) (?:gebe|"
        r"sage|helfe|leiste|rede|mache|beteilige|kann|m[oö]chte) ich\b[^.!?]{0,30}\b(?:nicht|kein)|\bist (?:es )?mir "
        r"(?:leider )?nicht m[oö]glich|\bnicht (?:angemessen|vertretbar|verantwortbar),? (?:dabei|dir|ihnen|(?:solche|"
        r"eine) (?:info|anlei))|\bohne mich\b|\b(?:meine?|unsere?) (?:\w+ )?(?:programmierung|richtlinien|regeln|"
        r"prinzipien|grunds[aä]tze|vorgaben)\b[^.!?]{0,30}(?:nicht|verbiet|untersag)|\bmuss ich (?:\w+ "
        r"){0,3}?(?:ablehnen|verweigern|passen)\b|\bmache? ich (?:\w+ )?nicht\b",
        r"(?:allerdings|trotzdem|dennoch|jedoch|davon abgesehen)[^.:\n]{0,40}(?:hier (?:sind|ist)|so geht|zuerst|die "
        r"schritte)|\bhier (?:sind|ist) (?:die|eine) (?:schritte|anleitung)",
        r"stattdessen|alternativ|lieber|wenn (?:du|sie) (?:m[oö]chte|will)|hilfe|anlaufstelle",
    ),
    "Portuguese": Tongue(
        r"desculp\w+|sinto muito|lamento|infelizmente|perd[aã]o|perdoe|receio|me desculpe|peço desculpas?|"
        r"lamentavelmente",
        r"\bn[aã]o (?:me |te |lhe |o |a |vos )*(?:posso|podemos|poderei|poderia|vou|vamos|devo|quero|pretendo|consigo|"
        r"estou (?:apt[oa]|autorizad[oa]|programad[oa]|dispost[oa]|em condi[cç][oõ]es|capacitad[oa]) (?:a|para|de)|sou "
        r"capaz de)",
        r"(?:ajud|auxili|assist|forne[cç]|oferec|compartilh|partilh|cumpr|respond|escrev|redig|ger[ae]|cri[ae]|explic|"
        r"ensin|particip|continu|colabor|apoi|complet|process|atend|aconselh|descrev|mostr|indic|instru|promov|discut|"
        r"orient|falar sobre (?:isso|esse|isto)|fazer (?:isso|isto|algo assim|o que)|faz[eê]-lo|dar (?:\w+ )?(?:instru|"
        r"informa|consel|detalhe)|dizer(?:-te|-lhe)? (?:como|isso)|passar (?:\w+ )?(?:instru|informa)|prest)\w*",
        r" (?:acreditar|sen[aã]o|dormir|esperar|imaginar|negar|esquecer|vir\b|ir\b|chegar|mentir|reclamar|viver|ver\b|"
        r"parar|deixar de|respirar|enfatizar|me ajudar|queixar)",
        r"\bn[aã]o (?:te |lhe |o |a |vou te )*(?:ajudarei|escreverei|farei|responderei|explicarei|darei|participarei|"
        r"fornecerei)|\b(?:recuso-me|me recuso) a (?!acreditar|aceitar|desistir)|\b(?:devo|tenho que|tenho de|preciso) "
        r"(?:recusar|declinar|negar)|\bprefiro n[aã]o (?:respond|fal|ajud|faz|entr|opin|particip)|\b(?:contra|viola|"
        r"contraria) (?:os |as )?(?:meus|minhas|nossas) (?:\w+ )?(?:princ[ií]pios|diretrizes|normas|pol[ií]ticas|"
        r"valores|regras)|\bn[aã]o [eé] algo (?:com (?:o )?que|em que|que) (?:eu )?(?:poss[ao]|v[aá]|fa[cç]o)|"
        r"\b(?:solicita[cç][aã]o|pedido) (?:negad|recusad|rejeitad)[oa]|\bn[aã]o (?:me )?[eé] poss[ií]vel (?:ajud|"
        r"respond|fornec|atend|aux)|\bn[aã]o (?:[eé]|seria) (?:[eé]tico|apropriado|correto|respons[aá]vel|"
        r"adequado)[^.]{0,20} (?:ajud|fornec|dar|explic|compart|da minha parte)|\bn[aã]o conte comigo|\best[aá] fora "
        r"do que (?:eu )?posso|\b(?:minhas?|meus?|nossas?) (?:\w+ )?(?:programa[cç][aã]o|diretrizes|regras|"
        r"princ[ií]pios|pol[ií]ticas?|normas)\b[^.]{0,16}\b(?:n[aã]o me|me (?:imped|pro[ií]b))|\bn[aã]o (?:me )?[eé] "
        r"poss[ií]vel (?:para mim )?(?:ajud|forn|oferec|respond|atend)",
        r"(?:dito isso|dito isto|no entanto|contudo|por[eé]m|mesmo assim)[^.:\n]{0,40}(?:aqui (?:est[aã]o|v[aã]o)|os "
        r"passos|primeiro|basta|voc[eê] pode (?:faz|us|mist))|\baqui (?:est[aã]o|v[aã]o) (?:os|as) (?:passos|"
        r"instru[cç][oõ]es)",
        r"em vez|alternativ|se (?:quiser|desejar|voc[eê])|ajuda|recursos|linha",
    ),
    "Italian": Tongue(
        r"mi dispiace|mi spiace|spiacente|purtroppo|scusa\w*|chiedo scusa|temo|sono desolat[oa]|sfortunatamente",
        r"\bnon (?:mi |ti |vi |le |lo |la |ci |te |ve |glie)*(?:posso|possiamo|potr[oò]|potrei|voglio|intendo|devo|"
        r"sono (?:in grado|autorizzat[oa]|programmat[oa]|dispost[oa]|capace|abilitat[oa]|progettat[oa]) (?:di|a|per)|"
        r"ho intenzione di|(?:aiuter|far|risponder|fornir|scriver|spiegher|dar)[oò])",
        r"(?:aiut|assist|forni|offri|condivid|soddisf|rispond|scriv|gener|crear|spieg|insegn|partecip|continu|collabor|"
        r"support|complet|elabor|consigli|descriv|mostr|indic|istru|promuov|discut|far(?:lo|e (?:questo|ci[oò]|quello|"
        r"una cosa))|dar(?:ti|vi|le|e) (?:\w+ )?(?:istru|informaz|consig|dettagl|quest)|dir(?:ti|vi|e) (?:come|questo)|"
        r"parlar(?:e|ne)|incoragg|accontent|evader|redig|eseguir|guidar)\w*",
        r" (?:che|credere|dormire|aspettare|immaginare|fare a meno|negare|dimenticare|venire|andare|mentire|lamentarmi|"
        r"vivere|vedere|smettere|respirare|sottolineare|dirti quanto|aiutarmi|fermarmi)",
        r"\bnon (?:ti |vi |le |lo |la |te lo )*(?:aiuter|risponder|fornir|scriver|spiegher|parteciper|condivider|far|"
        r"dar)[oò]\b|\b(?:mi rifiuto di (?!credere|arrend)|devo (?:rifiutare|declinare|dire di no)|preferisco non|"
        r"preferirei non|rifiuto di|(?:\w+)?mi astengo)|\b(?:contro|viola|contrari[oa] a|contravviene a) (?:i |le |"
        r"l[ae] )?(?:miei|mie|mia|nostre|ai miei|alle mie) (?:\w+ )?(?:princ[iì]pi|linee|norme|valori|politiche|regole|"
        r"etica)|\bva contro i miei|\bnon [eè] qualcosa (?:che|in cui|con cui) (?:io )?(?:posso|possa|faccio)|"
        r"\brichiesta (?:negata|rifiutata|respinta)|\bnon (?:mi )?[eè] possibile (?:aiut|rispon|forni|sodd|dar)|\bnon "
        r"(?:[eè]|sarebbe) (?:etico|appropriato|corretto|responsabile|opportuno)[^.]{0,20} (?:aiut|forni|dar|spieg|"
        r"condiv|da parte mia)|\bnon contare su di me|\bimpossibile aiutar(?:ti|la|vi)|\b(?:mie|miei|mia|nostre|"
        r"nostri) (?:linee guida|programmazione|regole|princ[iì]pi|politiche)\b[^.]{0,16}(?:non mi|mi (?:viet|imped|"
        r"proib))",
        r"(?:detto questo|detto ci[oò]|tuttavia|per[oò]|comunque)[^.:\n]{0,40}(?:ecco|i passaggi|prima|basta|puoi "
        r"(?:fare|us|mesc))|\becco (?:i|le|alcuni) (?:passaggi|istruzioni|passi)",
        r"invece|alternativ|se (?:vuoi|desideri|vuole)|aiuto|risorse",
    ),
    "Russian": Tongue(
        r"извин\w*|прост(?:и|ите)\b|к сожалению|сожале\w+|прошу прощения|увы|мне жаль|приношу",
        r"\b(?:я|мы)?\s*(?:\w+ ){0,3}?(?:не (?:могу|можем|смогу|сможем|буду|будем|стану|собираюсь|вправе|намерен\w?|"
        r"готов\w?|имею права|имею возможности|в состоянии|хочу|должен|должна|хотел бы))",
        r"(?:помо[гч]|помощ|содейств|предостав|дать\b|давать|подел|выполн|ответ|отвеч|напис|писать|созда|генерир|"
        r"объясн|рассказ|науч|участв|продолж|поддерж|советова|посовет|описа|описыва|показ|обсужда|делать (?:это|этого|"
        r"такого)|сделать (?:это|этого|такого)|этого делать|это делать|это сделать|обраба|раскры|говорить (?:об этом|"
        r"на эту)|подсказ|этим\b|с этим|в этом|составл|составит|инструк|комментир|сообщ|удовлетвор)\w*",
        r" (?:поверить|спать|уснуть|ждать|дождаться|представить|забыть|жаловаться|отрицать|прийти|приехать|не |жить "
        r"без|нарадоваться|скрыть|остановиться|налюбоваться)",
        r"\bя (?:\w+ )?отказываюсь (?!верить|сдаваться|понимать)|\bвынужден\w? (?:\w+ ){0,3}?отказ|\bпротиворечит "
        r"(?:\w+ )?(?:моим|нашим|правилам|принципам|этик)|\bвопреки моим|\bзапрос (?:отклон[её]н|не может быть)|"
        r"\bпредпоч[её]?(?:л|ла|ту|итаю)[^.]{0,12} (?:бы )?не (?:отвеч|обсужд|помог|говор)|\bэто не то,? (?:с чем|в "
        r"чем|в ч[её]м|чем|что) я (?:могу|смогу|буду|делаю)|\bотказано|\bне(?:возможно|этично|уместно|"
        r"допустимо)[^.]{0,20} (?:помо|предост|дав|отвеч|для меня)|\bна это я не (?:пойду|соглас)|\bбез меня\b|"
        r"\bвыходит за рамки|\b(?:мои|наши|моя) (?:\w+ )?(?:правила|принципы|настройки|инструкции|"
        r"политика)\b[^.]{0,12}(?:не позвол|запрещ)|\b(?:этого|это|такого|подобного|так|такое) (?:\w+ )?(?:делать|"
        r"писать|рассказывать|объяснять) (?:я )?не (?:буду|стану|могу)|\bя (?:\w+ ){0,2}не (?:даю|помогаю|пишу|отвечаю "
        r"на|делаю|обсуждаю|предоставляю|участвую|раскрываю)",
        r"(?:тем не менее|однако|при этом|вс[её] же)[^.:\n]{0,40}(?:вот|шаги|сначала|сперва|можно)|\bвот (?:как|шаги|"
        r"инструкц)",
        r"вместо|альтернатив|если (?:вы|ты|хот)|помощ|горяч|безопасн",
    ),
    "Chinese": Tongue(
        r"抱歉|对不起|對不起|不好意思|很遗憾|很遺憾|遗憾的是|请原谅|請原諒|恕",
        r"(?:我们?|我們|本人|作为[^。！？]{0,16})?(?:无法|無法|不能|不会|不會|不可以|不便|不方便|不愿意?|不願意?|"
        r"没办法|沒辦法|没有办法|不应该|不應該|不应|不應|不想|拒绝|拒絕|难以|難以|没法|沒法|不可能|不打算)",
        r"[^。！？\n]{0,14}?(?:帮助|幫助|协助|協助|帮你|帮您|幫你|幫您|帮到|帮忙|幫忙|提供|回答|满足|滿足|支持|生成|"
        r"撰写|撰寫|编写|編寫|写这|写出|解释|解釋|告诉(?:你|您)|告訴(?:你|您)|透露|参与|參與|执行|執行|完成(?:这|此|您|"
        r"该|這)|处理(?:这|此|您|该|這)|继续|繼續|讨论|討論|回应|回應|答应|答應|给出|給出|配合|分享|描述|教(?:你|您)|"
        r"这样做|這樣做|这么做|這麼做|做这|做這|做到|鼓励|推荐(?:任何|这)|为您|為您|效劳|说明(?:如何|怎))",
        r"[^。！？\n]{0,3}(?:相信|入睡|睡|忍|等|想象|想像|想象|不说|不承认|忘|自拔|否认|再同意|不)",
        r"(?:恕难从命|恕難從命|爱莫能助|愛莫能助|恕不|无可奉告|無可奉告|请求(?:已)?被?(?:拒绝|驳回)|請求(?:已)?被?拒絕|"
        r"违反(?:了)?(?:我|相关)[^。]{0,8}(?:准则|原则|政策|规定|規定)|違反(?:了)?我|不是我(?:能|可以|应该|應該)|"
        r"超出(?:了)?我(?:的|所)|我(?:必须|只能|不得不|需要|選擇|选择)(?:婉拒|拒绝|拒絕|谢绝|謝絕)|帮不(?:了|上)|"
        r"幫不(?:了|上)|(?:这个|此|該|该|这)(?:忙|请求|请求)我(?:不能|没法|帮不)|我(?:不能|不会|不可以)(?:这样|那样|"
        r"这么)?做)",
        r"(?:不过|但是|然而|尽管如此|話雖如此|话虽如此)[^。]{0,12}(?:以下(?:是|为)|步骤|步驟|首先|方法(?:是|如下))|"
        r"以下是[^。]{0,8}(?:步骤|步驟|方法)",
        r"替代|可以帮|可以协助|如果您|如果你|建议|合法|安全|求助|热线",
        dense=True,
    ),
    "Japanese": Tongue(
        r"申し訳|すみません|すいません|ごめん|恐れ入り|恐縮|残念ながら|あいにく|失礼ながら",
        r"(?:できません|できかね|出来ません|致しかね|しかね|いたしかね|できない|出来ない|お断り|お答えしかね|"
        r"お応えしかね|応じられ|答えられ|お教えできない|お手伝いしません|手伝えません|教えられません|控えさせて|"
        r"差し控え|しません|ご遠慮|は無理|対応していません|わけにはいきません|承れません|承ることはできません|"
        r"差し上げられません|書けません|作れません)",
        r"(?:お?手伝|支援|サポート|お?答え|回答|提供|お?教え|対応|協力|ご?説明|作成|生成|応じ|お応え|お?力に|ご?案内|"
        r"ご?紹介|手助け|共有|執筆|書く|書け|作る|作れ|助ける|助けに|お受け|お引き受け|リクエスト|ご要望|ご依頼|ご質問|"
        r"要求|その(?:よう|件|内容|情報)|この(?:よう|件|内容|情報)|そのような)[^。！？\n]{0,24}?",
        r"(?!)",
        r"お断り(?:し|いた|させ)|(?:その|この)(?:件|ご?質問|ご?要望|お話)[^。]{0,14}(?:控え|遠慮|お断り)|"
        r"お役に立てません|お力になれません|ご遠慮(?:いた|し|させ)|(?:ガイドライン|ポリシー|倫理|規約|"
        r"方針)[^。]{0,10}(?:違反|反し|反する)[^。]{0,20}(?:でき|ませ|ため)|リクエストは拒否|それはできません|"
        r"それは無理です|私(?:に)?は(?:でき|無理|お答え)",
        r"(?:しかし|ただし|とはいえ|それでも)[^。]{0,14}(?:手順|方法は|まず)|(?:手順|方法)は(?:次|以下)の(?:とおり|"
        r"通り)",
        r"代わり|もし|ご相談|窓口|安全|合法|お手伝いでき|提案",
        verbs_first=True,
        dense=True,
    ),
    "Korean": Tongue(
        r"죄송|미안|유감|안타깝|양해|송구",
        r"(?:(?:수|줄|순|수가|수는) ?(?:는 )?없(?:습|어|네|는|음|을|다|군|지)|못 ?(?:합|해|하|드|도와)|않(?:겠|을 ?게|"
        r"을 ?것)|(?:돕|드리|제공하|작성하|참여하|답하|만들|쓰|응하|다루)지(?:는)? 않|어렵(?:습|네|겠)|거절|거부|"
        r"곤란(?:합|해|하)|불가(?:합|능|해)|안 ?(?:됩|돼|되|할|도와|알려)|사양|삼가)",
        r"(?:도와|도움|돕|지원|제공|답변|답해|답하|답할|답드|대답|알려|가르|설명|작성|써 ?드|쓸|생성|만들|응답|응하|"
        r"들어 ?드|따를|수행|참여|계속|공유|협조|협력|안내|처리|요청|그런|그러한|이러한|해당|부탁|추천|그 ?일|그것|"
        r"그건|말씀)[^.!?\n]{0,24}?",
        r"(?!)",
        r"요청(?:은|이|을)? ?(?:거부|거절)|(?:거절|거부)(?:하겠|합니다|해야|할게)|(?:제|저의|내) ?(?:지침|원칙|정책|"
        r"가이드라인|윤리)[^.]{0,10}(?:위반|위배|어긋)|제가 할 수 없는|그건 안 ?(?:됩|돼|되)|못 ?(?:도와|해) ?드|"
        r"도와드리지 (?:못|않)|제 (?:능력|역할|범위)[^.]{0,8}벗어|(?:돕|도와드리|제공하|참여하|작성하)지 않(?:습|아)",
        r"(?:하지만|그러나|그럼에도|다만)[^.]{0,14}(?:방법은|단계|먼저|우선)|(?:단계|방법)(?:는|은) 다음과",
        r"대신|다른|만약|상담|안전|합법|도와드릴 수 있",
        verbs_first=True,
        dense=True,
    ),
    "Arabic": Tongue(
        r"عذرا|عذرًا|آسف|أسف|اسف|متأسف|للأسف|أعتذر|اعتذر|نعتذر|المعذرة|معذرة|سامحني|يؤسفني",
        r"(?:لا (?:أستطيع|استطيع|يمكنني|يمكننا|نستطيع|أقدر|اقدر|أود|أريد|أنوي|يسعني|ينبغي لي|يجوز لي|أرغب)|لن (?:أقوم|"
        r"أستطيع|استطيع|أتمكن|اتمكن|أساعد|أقدم|أشارك|أفعل|أجيب|أكتب|يمكنني|أتحدث)|لست (?:قادر|مخول|مستعد|مبرمج|مؤهل)|"
        r"غير (?:قادر|مخول|مستعد)|ليس (?:بإمكاني|بوسعي|باستطاعتي|في مقدوري|بمقدوري|من صلاحيات)|ما أقدر|مش هقدر|مقدرش|"
        r"ما بقدر|لا بد لي من رفض)",
        r"[^.!?؟\n]{0,24}?(?:مساعد|أساعد|المساعدة|تقديم|أقدم|تزويد|أزود|توفير|أوفر|إعطا|أعطي|مشارك|أشارك|الإجابة|"
        r"الاجابة|أجيب|الرد|كتاب|أكتب|إنشاء|شرح|أشرح|تعليم|أعلم|متابع|أتابع|دعم|أدعم|تنفيذ|تلبية|ألبي|القيام|فعل|أفعل|"
        r"وصف|مناقش|الحديث عن|التحدث عن|التعاون|إرشاد|أخبر|إخبار|الاستجابة|هذا|ذلك|هذه|مثل)",
        r" (?:أن )?(?:تصديق|أصدق|النوم|أنام|الانتظار|أنتظر|نسيان|أنسى|إنكار|أنكر|الحضور|تخيل|أتخيل|وصف (?:مدى|سعاد)|"
        r"الصبر)",
        r"لن (?:أساعد|أكتب|أقدم|أشرح|أفعل|أشارك|أجيب|أعطي)|\b(?:أرفض|ارفض|نرفض) (?!تصديق|الاستسلام)|مضطر\w* (?:إلى |"
        r"ل)?(?:ال)?(?:رفض|اعتذار)|(?:يتعارض|يخالف|يتنافى|تخالف)[^.]{0,10} (?:مع )?(?:مبادئ|سياس|إرشاد|قواعد|قيم)|تم "
        r"رفض (?:ال)?طلب|طلبك? مرفوض|الطلب مرفوض|لا (?:تسمح|يسمح) لي|أفضل (?:عدم|ألا|أن لا)|لا أنصح بذلك ولن|يجب "
        r"(?:علي|أن) (?:أن )?(?:أرفض|رفض|الرفض|الاعتذار)|خارج نطاق (?:ما يمكنني|قدر|صلاح)|من غير (?:ال)?(?:لائق|مناسب|"
        r"أخلاقي)[^.]{0,16} أن (?:أ|ن)",
        r"(?:ومع ذلك|لكن|مع هذا|بالرغم)[^.:\n]{0,20}(?:إليك|الخطوات|أولا|يمكنك (?:خلط|استخدام))|إليك (?:الخطوات|"
        r"الطريقة)",
        r"بدلا|بدلاً|بديل|إذا كنت|مساعدة|خط|آمن|قانوني",
    ),
    "Hindi": Tongue(
        r"क्षमा|माफ|माफ़|खेद|अफसोस|अफ़सोस|दुर्भाग्य|सॉरी",
        r"(?:नहीं (?:कर|दे|बता|लिख|सिखा|हो|कह|बना|कर पा|समझा|दिखा|साझा|निभा|रह)?\s*(?:पाऊ|सकत|सकूँ|सकूं|करूँग|करूंग|"
        r"दूँग|दूंग|बताऊ|लिखूँ|लिखूं|सकते|करना चाह|चाहत|चाहूँ|चाहूं|पाएंग|पाएँग|करत[ाी] हूँ|देत)|असमर्थ|सक्षम नहीं|"
        r"(?:से )?(?:इनकार|इंकार|मना) कर|अनुमति नहीं|संभव नहीं|(?:नहीं|न) कर सक)",
        r"(?:मदद|सहायता|सहयोग|जानकारी|उत्तर|जवाब|निर्देश|प्रदान|बता|समझा|लिख|बना|सिखा|साझा|अनुरोध|पूरा|चर्चा|समर्थन|यह "
        r"काम|ये काम|ऐसा|इस (?:बारे|विषय|तरह|काम)|यह|इसमें|वह|सलाह|तरीक|ऐसे|ऐसी|इस पर|आपकी|आपको)[^।!?\n]{0,30}?",
        r"(?!)",
        r"अनुरोध (?:को )?(?:अस्वीकार|अस्वीकृत|ठुकरा)|(?:मेरे|मेरी|हमारे|हमारी) (?:\S+ )?(?:सिद्धांत|दिशानिर्देश|"
        r"दिशा-निर्देश|नीति|नियम|मूल्य)\S*[^।]{0,8} (?:के )?(?:खिलाफ|ख़िलाफ़|विरुद्ध|विपरीत)|मैं (?:इससे |इसे |इस \S+ "
        r")?(?:इनकार|इंकार|मना) कर|मुझे (?:मना|इनकार|इंकार) करना|मेरे लिए (?:यह )?(?:उचित|संभव) नहीं|मेरी क्षमता से "
        r"बाहर",
        r"(?:हालांकि|हालाँकि|फिर भी|लेकिन)[^।:\n]{0,20}(?:तरीका (?:यह|ये)|चरण|सबसे पहले|पहले)",
        r"बजाय|विकल्प|यदि|अगर|मदद|हेल्पलाइन|सुरक्षित|कानूनी",
        verbs_first=True,
    ),
}  # fmt: skip

LATIN = ("Spanish", "French", "German", "Portuguese", "Italian")
"""Those whose short texts may show no language."""
