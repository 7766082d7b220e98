"""The words by which replies name an answer, deny it, take it back or say nothing: patterns for `reading`."""

import re

_FLAGS = re.IGNORECASE
LETTER_CHOICE = r"\(?[A-Z]\)?"
_NOT = r"nicht|keine?|não|niet|не|pas|nie|není|inte|ikke|không|bukan|nem|ei|nu|δεν|לא|ليست?"
"""`Not` in languages that have it before what they deny."""
IS_NOT = re.compile(rf"\b(?:not|{_NOT})\b|n't", _FLAGS)

HEDGED = re.compile(
    r"\b(?:or|either|not|no|neither|nor|except|without|cannot|unlike|than|but|anything|everything)\b|n't\b|/|或"
    r"|不|也可能",
    _FLAGS,
)
"""Words by which a text that has those of a choice may not choose it."""
DENIED = re.compile(
    r"\b(?:not|never|cannot|can't|neither|nor|without|except|unlikely|wrong|incorrect|false|unless|whether|rule out"
    r"|ruled out|eliminated?|exclude[ds]?|(?<!no )(?<!without )(?<!without a )doubt|impossible|unclear|unsure"
    r"|anything but|nothing like|far from|no longer|used to be|lacks?|least likely|nicht|kein|não|niet|не|pas)\b|n't\b"
    r"|^\W*if\b(?! i (?:had to|have to|must)\b)|(?:^|\s)no es\b|n'est pas|не является|ไม่ใช่|不|并非|也可能|没有"
    r"|无法|排除|错误的|ない|ありません|아니|아닙",
    _FLAGS,
)
"""Before an answer in its clause: it is not given."""
DENIED_JUST_BEFORE = re.compile(r"(?:\bnon?|\bn'|没)\s*$", _FLAGS)
DENIED_BEHIND = re.compile(
    rf"不|(?:{_NOT}) (?=\w)|no\b es"
    r"|.*(?:가 아닙니다|이 아닙니다|ではありません|じゃない|(?<![,而])(?<!, )不是|değil|नहीं|ไม่ใช่)",
    _FLAGS | re.DOTALL,
)
"""In the text that an answer is named by, in languages that deny behind it."""
RECALLED = re.compile(
    r"^\W*(?:earlier|previously|before|initially|originally|at first),? i\b"
    r"|\bi (?:earlier|previously|first|initially|originally) (?:said|thought|counted|guessed|answered|assumed|read)\b",
    _FLAGS,
)
"""Tells what was said before; it is not the answer."""
RETRACTION = re.compile(
    r"\W*(?:no+(?=\W*\w)(?! other\b)|wait|actually|hmm+|oops|sorry|correction|scratch that|on second thoughts?"
    r"|hold on|but wait|i meant?,?(?= \(?[A-Z]\)?\W*$| [-$€£]?\d)|let me (?:re-?\w+|correct)|my mistake|不对|等等)\b"
    r"[\s,.:!-]*(?:(?:wait|actually|no|sorry)(?=\W+\w))?[\s,.:!-]*",
    _FLAGS,
)
"""The beginning of a sentence that replaces what was said before it."""
REMARK = re.compile(
    r"(?:please |also |do )?(?:note|notice|remember|keep in mind)\b|(?:i )?hope\b|let me know\b|thank"
    r"|(?:(?:all|both|none|neither|no)\b )?(?:of )?(?:the )?(?:other|remaining) (?:\w+ )?"
    r"(?:option|choice|answer|one)s?\b|(?:请)?注意|其[他余]",
    _FLAGS,
)
"""The beginning of a sentence after an answer that gives none."""
DISOWNED = re.compile(
    r"\b(?:that|this|it|which|above|answer|result|i)(?: (?:is|was|am|seems|looks|must be|might be)|'s|'m)"
    r"(?: (?:clearly|actually|probably|all))* "
    r"(?:wrong|incorrect|mistaken|a mistake|an error|not (?:right|correct|it|true))\b"
    r"|\b(?:that|this|it)(?: (?:isn't|wasn't|can't be|cannot be)|'s not) (?:right|correct|it|true)\b"
    r"|\b(?:i|we) (?:made|have made) an? (?:mistake|error)|\bor so i thought"
    r"|\bcan(?:not|'t| not) be (?:determined|answered|known|read)",
    _FLAGS,
)
"""Takes back what was said before."""
REFUSED = re.compile(
    r"\b(?:cannot|can't|can not|unable to|not able to) (?:answer|help|assist|view|see|access)"
    r"|not enough information|\bunanswerable",
    _FLAGS,
)
"""After it, only what is named as the answer is one."""

_IS = (
    r"(?:is|are|was|were|'s|'re|should be|must be|will be|would be|has to be|could be|might be|may be|seems to be"
    r"|appears? to be|looks? like|turns out to be|equals?|=|≈|:|->|→)"
)
_FOR = r"[^.:;,=]{1,60}?"
NAMED = re.compile(
    r"\b(?:answers?|ans|options?|choices?|solutions?|conclusion|final result|selection|pick|guess|estimate)\b"
    rf"(?: (?:here|above|to {_FOR}|for {_FOR}|that {_FOR}|i (?:choose|chose|pick|picked|selected|select)))?"
    rf"[\s*\"')\]]{{0,4}}{_IS}(?P<not>n't|not\b)?[\s:*\"']{{0,6}}"
    r"(?:therefore|thus|hence|then|clearly|most likely|that)?[\s:,]*",
    _FLAGS,
)
CHOSEN = re.compile(
    r"(?:^|(?<=, ))(?:which |that )?(?:going with|leav(?:ing|es)(?: us with| only| just)?) (?:option )?"
    r"|\b(?:i|we)(?:'d|'ll|'m| would| will| shall| can| must| should)?"
    r"(?: (?:also|therefore|thus|finally|definitely|have to|choose to))* "
    r"(?:choose|chose|select|selected|pick|picked|(?:am )?going with|go with|go for|opt for|conclude(?: that)?"
    r"|vote for"
    r"|settle on|answer|answered|guess(?: that)?|say) (?:it(?: is|'s) |option |that )?",
    _FLAGS,
)
NAMED_ELSEWHERE = re.compile(
    r"(?:правильный ответ(?! ?[-—:])|\b(?:respuestas?|rispost[ae]|réponses?|antwort(?:en)?|respostas?|antwoord|ответ"
    r"|відповідь|odpowiedź|cevap|yanıt|đáp án|câu trả lời|jawaban(?:nya)?|svar(?:et)?|vastaus|odpov[eě]ď|răspuns(?:ul)?"
    r"|απάντηση|ה?תשובה|válasz|(?:ال)?إجابة|الجواب|پاسخ|उत्तर|คำตอบ(?:ที่ถูกต้อง)?)(?: (?!non?\b)\w{2,12}){0,2}?"
    r"(?: (?:es|son|è|sono|est|sont|ist|sind|laute[tn]|é|são|to|brzmi|là|adalah|ialah|هي|هو|är|er|on|je|este|είναι"
    r"|היא)\b| ?[:—-]|คือ| (?=\(?[A-Z]\)?(?!\w)|\d))"
    r"|答え[はが：:]|正解[はが：:]|(?:정답|답)[은이]?:?"
    r"|(?:正确)?(?:答案|选项|结果|结论)(?:应该|应|选择|选)?(?:[是为选選]:?|:)|(?:应|故|因此|所以)?(?:该)?(?:选择|选|選)(?:项)?:?"
    r"|choix :?)\s*[:：]?\s*",
    _FLAGS,
)
"""`The answer is` in other languages; what follows is the answer."""
IS_RIGHT = re.compile(
    r"^(?P<what>.{1,80}?),? (?:(?:fits?|match(?:es)?|suits?|works?|makes?)(?: it)? (?:the )?(?:best|most sense)"
    r"|(?:is|are|seems|appears to be|would be|must be|should be|has to be)"
    r"(?: therefore| thus| clearly| most likely| probably)? (?:the |our |my )?(?:only |most |single |one )?"
    r"(?:correct|right|best|better|accurate|appropriate|suitable|true|final|answer|one that matches|way to go))"
    r"(?: (?:answer|option|choice|one|match|solution|statement|description|fit)s?)?"
    r"(?: (?:here|because|since|as|to|for|among|of)\b.*)?\W*$",
    _FLAGS,
)
IS_RIGHT_CHINESE = re.compile(r"(?:.*[,:选项所以因此故])?\(?([A-Z])\)?(?:选项)?是?(?:正确|对)(?:的|答案|选项)*\W*")
IS_WRONG = re.compile(
    r"^\W*(?:option |choice |answer )?\W?(?P<letter>[A-Z])\W? "
    r"(?:(?:(?:is|are|must be) (?:(?:the|an?) )?|(?<=[:-] ))(?:wrong|(?:in|not )correct|not right|false|out)(?: \w+)?"
    r"|isn't (?:right|correct|true))\W*$",
    _FLAGS,
)
_CHOICE = (
    r"(?:(?:the|la|l[eo]s|las|die|as?|options?|choices?|answers?|statements?|op[cçz]\w+|lett?r\w) )*(?-i:\(?[A-Z]\b\)?)"
    r"(?: \([^()]{1,40}\))?"
)
_CHOICES = rf"{_CHOICE}(?:,? ?(?:\b(?:and|or|nor|y|e|o|et|ou|und|oder)\b|[,/&]) ?{_CHOICE})*"
_WHILE = r"(?:and|but|while|whereas|though|y|e|et|und|pero|mais|mas|ma|aber|mientras que|tandis que|alors que|während)"
OTHERS_DENIED = re.compile(
    rf"(?:^(?:{_WHILE} )?|[,;:]\s(?:{_WHILE} )?|\s{_WHILE} )"
    rf"(?:{_CHOICES}|(?:all )?(?:the|las|los|les|die) (?:others?|rest|other \w+))"
    r" (?:(?:is|are|must be|es|son|est|sont|ist|sind|é|são|è|sono)(?: (?:all|both|clearly|todas|toutes|alle))?"
    r" (?:wrong|incorre\w*|false|falsch|fals[aoe]s?|sbagliat\w|errad\w+|not(?: \w+)?)"
    r"|(?:is|are)n't(?: \w+)?|do(?:es)?(?: not|n't) \w+)(?=\W*(?:[,;.]|$))"
    rf"|[,;]?\s\(?(?:{_WHILE} )?(?:not|no|não|non|pas|nicht|niet|inte|nie|не) {_CHOICES}\W*$",
    _FLAGS,
)
"""Says of other choices than the answer, by their letters, that they are none."""
PRONOUN = re.compile(r"\b(?:it|this|that|i|he|she|they|statement|claim|assertion|sentence)$", _FLAGS)

SAID_TO_BE = re.compile(
    rf"(?:(?<!\w)|(?='(?:s|re)\b))(?:{_IS}|isn't|aren't|wasn't|can't be|cannot be|won't be|measures?|costs?|weighs?"
    r"|reads?"
    r"|says?|shows?|displays?|indicates?|has|have|contains?|comes? (?:out )?to|totals|adds up to|sums? to|amounts? to"
    r"|works out (?:to|as)|becomes?|gives?|yields?|makes?|gets?|obtain|find|found|sees?|count|counted|calculate|think"
    r"|believe|estimate|needs?|wants?|pays?|corresponds? to|belongs? to|represents?|paid|spent|takes?|took|won"
    r"|lost|held|sold|bought|got|made|wrote|rose|fell|grew|hay|il y a|es gibt|ist|sind|est|es|è|é"
    r"|(?!times|plus|minus|less|versus|divided|rows|columns|steps)\w{3,}(?:s|ed)"
    r"(?= (?:(?:a total of|about|around|approximately|exactly|only|at|to|by) )?[$€£]?-?\d)|\w{3,}ed(?= (?:it"
    r"|this|that)\W*$))(?!\w)"
    r"(?:[\s:\"'“”]| that\b)*"
    r"|(?<=\w):(?=\s)|等于|显示[了有出]?|共有|是|(?<!没)有|为|[重长高宽](?=\d)",
    _FLAGS,
)
"""What stands between a thing and what a sentence says of it."""
STANDS_OUT = re.compile(
    r"(?:the )?(?:\w+[ -]){0,3}(?:\w{3,}est|most|least|only|top|main|dominant|majority|winner|leader|visible"
    r"|shown|seen"
    r"|left|remaining|present|depicted|same|value of|number of|in the|on the|there|it)\b",
    _FLAGS,
)
"""Said of a thing that is the answer itself: `Germany has the highest value`."""
QUALIFIED = re.compile(
    r"\b(?:(?:one|some|any|all|most|half|quarters?|thirds?|f(?:our|if)ths?|tenths?) of|anything but|than"
    r"|over|under|above|below|least|most|every|each|per|page|step|figure|fig|table|route|room|section"
    r"|question"
    r"|line|level|version|chapter|part|number|no|up to|close to|closer to|times|twice|double|triple|half|plus"
    r"|minus|squared|between|from|or|and"
    r"|before|after|until|since|less|more|fewer|nearly|almost|hardly|multiple|factor|divided|multiplied|if"
    r"|without|any)\b",
    _FLAGS,
)
"""Words by which a number at the end of a clause is not what the clause says."""
FILLER = re.compile(
    r"^(?:(?:answer|solution|ans)\s+-\s|\W*\b(?:so|thus|therefore|hence|then|and|finally|overall|clearly|(?:ok|okay|well|sure)(?=\W*,)"
    r"|in (?:conclusion|summary|total|short)|to (?:conclude|summarize)|as a result|consequently|about|approximately"
    r"|approx\.?|roughly|around|circa|exactly|precisely|only|just|simply|actually|definitely|certainly|probably"
    r"|likely"
    r"|possibly|perhaps|maybe|most likely|most probably|very likely|equal to|equals|that is|that|i think|i believe"
    r"|i guess|no doubt|without (?:a |any )?doubt"
    r"|i'd say|i would say|it seems|it appears|a total of|a count of|estimated (?:to be|at)|given by|indeed"
    r"|obviously|equal|because|also|still|now|but|absolutely|of course|choose|select|pick|that of|called"
    r"|named|titled|entitled|known as|located (?:in|at|on)"
    r"|(?:an?|the) (?:height|length|width|depth|value|total|sum|size|area|volume"
    r"|perimeter|age|count|speed|weight|mass|price|cost|score|rate|average|mean|median|radius|diameter) of"
    r"|by(?= \d)"
    r"|i meant?|should be|during(?= \d{4})|a ratio of|(?:the )?point(?= ?\()|(?:la |le |a |o )?(?:opción|opção"
    r"|opzione|letra|lettre)"
    r"|at(?= ?\()|(?:in |on )?(?:the )?year(?= \d{4})|in(?= (?:\d{4}|\w+teen |twenty[ -][a-z]+))"
    r"|(?:the )?number(?= -?\d)|no\.(?= ?\d)"
    rf"|(?:the|la|el|le|il|die|(?-i:[ao]))(?= {LETTER_CHOICE}\W*$)"
    r"|answer|ans|option|choice|letter|因此|所以|大约|约|大概|故|则|共)\b"
    r"|\s*(?:因此|所以|大约|约|大概|故|则|一共|总共|共有|共)|[\s~≈:,*=]+)+[\s,:]*",
    _FLAGS,
)
"""Words before an answer that do not change it."""
TRAILING = re.compile(
    r",? (?:(?:so|and) (?:that|this|it)(?:'s| is) (?:the|my|our) (?:final )?answer|i (?:think|believe|guess"
    r"|suppose|would say)|probably|roughly|for sure|to me|it is|i'm (?:(?:pretty|fairly|quite|very) )?(?:sure|certain)"
    r"|(?:though|although|but) i (?:may|might|could) be (?:wrong|mistaken)|with \S+ (?:confidence|certainty)"
    r"|if i (?:had|have) to \w+)[.\s]*$"
    r"|(?:입니다|です|でした|正确|是正确的|정답|(?<![ぁ-ん])だ|(?<=[A-Z\d)])(?:인|选项)| है।?)[.\s]*$"
    r"|\s+(?:in (?:total|all|colou?r)|altogether|overall|respectively|please)\W*$",
    _FLAGS,
)
LEAD_IN = re.compile(
    r"^(?:according to|based on|out of|from|in|looking at|as|given|using|by|for|on|at|with|after|when|among|of|per"
    r"|judging)\b"
    r"(?! [^\s,]+, [^\s,]+(?:, [^\s,]+)*,? and [^\s,]+\W*$)[^,()\[\]]{1,80}, (?=\S)",
    _FLAGS,
)
_OF_NO_LIST = r"(?!\W*$|\s*[,;、，]|\s+(?:and|or|und|oder|et|ou|och|og|và)\b)"
"""After a word that gives a reason; else it is an item: `who, where and when`."""
_GERMAN = r"(?:d(?:er|ie|as|e[nm]|ies\w*)|es|er|sie|sich|wir|man|ich|ein\w*|kein\w*|nur|all\w*|im|in|auf|hier)"
_FRENCH = r"(?:[cdlnsj]['’]\w|l[ae]s?|ils?|elles?|on (?!the|a|my)|une?|aucune?|ce(?:s|tte)?|nous|je|seul|d'autres)"
_PORTUGUESE = r"(?:[oa]s?|é|são|não|há|está|est[ea]s?|um|uma|só|apenas|nenhum\w*|ele|ela)"
REASON = re.compile(
    r"(?<!ing), (?!hundred)(?:[^\W\d]{4,}ed|(?:sitt|stand|ly|look|fac|hold|wear|hang|com|result)ing)"
    r" (?:in|by|at|on|from|to|with)\b.*$"
    r"|[,;]? \(?(?:because|since|due to|as (?:it|the|this"
    r"|that|shown|seen|indicated|we|there)|given that"
    r"|which (?:is|are|means|shows)|where|so that|based on|according to"
    r"|porque|parce que|puisque|weil|perché|poiché|потому что|так как|поскольку|omdat|eftersom|fordi|ponieważ|çünkü"
    r"|karena|bởi vì|protože|deoarece|επειδή|тому що"
    rf"|car (?:[cl]'|l[ae]s?|il|elle))\b{_OF_NO_LIST}.*$"
    # words for because that are words of English or names: what follows tells
    rf"|[,;] (?:(?-i:as)(?! well|\W+(?:and|or)\b)|(?:da|denn)(?= {_GERMAN}\b)|car(?= {_FRENCH}\b)"
    rf"|pois(?= {_PORTUGUESE}\b)"
    r"|bo(?= (?:\w+ )?(?:jest|są|nie|to|widać)\b)|vì(?! sao)|see(?= (?:the|that|also|above|below|fig\w*|table|row|page"
    r"|image|chart|step|section|line|column)\b)|i\.e\.|that is(?! all\b))\s.*$|[,，]?\s*因为.*$",
    _FLAGS,
)
BY_WHAT = re.compile(
    r"(?P<value>[-$€£]?\d[\d.,/]*%?|\(?[A-Z]\)?),? "
    r"(?P<how>as(?! m)|by|after|from|considering|including|counting|given|thanks to) (?!\d|.* (?P=how) ).+"
)
"""A number or letter and how it was found, as in `5 by counting`; `5 by 3` is another thing."""
NOT_ANOTHER = re.compile(
    r"[,;]? \(?(?:(?:and |but )?not|rather than|instead of|as opposed to|unlike)"
    r"(?!\s*$|\s+(?:and|or|gates?)\b)\s+[^,;]*$|,?\s*而?不是.*$",
    _FLAGS,
)
"""The end of `73, not 37`."""
NOT_BUT = re.compile(
    r"^(?:is |are )?(?:not|isn't) [^,;]{1,60}?,? but (?:rather |it is |it's )?|^不是[^,]{1,20}, ?而?是"
    r"|^not [^,;\s]{1,20}, (?=[^,;\s]{1,20}\W*$)",
    _FLAGS,
)
CORRECTED = re.compile(
    r"(?:\b(?:nicht|niet|inte|ikke|nie(?: jest)?|не|bukan|n'(?P<fr>est) pas|no (?P<es>es)|não (?P<pt>é)|non (?P<it>è)"
    r"|không phải(?: (?P<vi>là))?) [^,;.!?]{1,40}?,? (?:sondern|maar|utan|men|lecz|tylko|ale|а|melainkan|mais|sino"
    r"|mas(?: sim)?|ma|bensì|mà)(?: (?:c'est|plutôt|bien|que es|là))* "
    r"|(?:并不|不)(?P<zh>是|为|為|选)[^,;.!?。不也还]{1,20}?[,;]? ?而?(?:应该?)?(?P=zh)"
    r"|并非[^,;.!?。不也还]{1,20}?[,;]? ?而?(?=是)"
    r"|,? ?(?<![从因然反])而(?:不是|非(?!常)|不选)[^,;.!?。]*"
    r"|(?<=[はが])[^,;.!?。は]{1,20}?(?:ではなく|じゃなく)て?,? ?|(?<=[은는] )[^,;.!?]{1,20}?[이가] 아니(?:라|고),? "
    r"|(?<=\w )[^\s,;]{1,20} değil,? (?=\w)"
    r"|\bnot [^,;.!?]{1,40}?[,;] (?:it is|it's) (?=(?-i:\(?[A-Z]\b(?! [a-z]))|[-$€£]?\d))",
    _FLAGS,
)
"""What is denied or taken back just before what stands in its place: `nicht A, sondern`, with the verb to keep."""
SO = re.compile(
    r"(?:, (?:so|therefore|thus|hence|giving|which gives|which makes|making it|making|and so|and therefore|but"
    r"|for (?=a total)|an? (?:rise|increase|gain|drop|fall|decrease|difference|change|total|sum) of)"
    r"|;(?! ?[^\s;]{1,30}(?: [^\s;]{1,30})?[.\s]?(?:;|$)) ?|→|⇒|=>|,? ?(?:因此|所以|故))[\s,]*",
    _FLAGS,
)
"""What stands between reasons and a conclusion in one sentence."""
_IT_IS = (
    r"(?:(?:it|he|she|that) (?:is|was|does|did|has|can)|(?:they|we|you) (?:are|were|do|did|have|can)|there (?:is|are))"
)
YES = re.compile(
    rf"\W*(?:(?:(?:i (?:think|believe) )?{_IT_IS}|sure|absolutely|certainly|definitely|probably|of course"
    r"|no doubt(?: about it)?|without (?:a |any )?doubt|i (?:think|believe) so"
    r"|that(?:'s| is) (?:right|correct|true))\W*)+",
    _FLAGS,
)
NO = re.compile(
    rf"\W*(?:(?:of course|certainly|definitely|absolutely|probably|surely|i (?:think|guess)) not|not (?:really|at all)"
    rf"|{_IT_IS}(?:n't| not| none)|i (?:don't|do not) (?:think|believe) so|no way|in no case|by no means"
    r"|that(?:'s| is) (?:not |in)(?:correct|right|true))\W*",
    _FLAGS,
)
TRUTH = re.compile(
    r"^\W*(yes|yep|yeah|no|nope|true|false|是的|是|不是|否|对|不|没有)"
    r"(?: (?:indeed|definitely|absolutely|of course)\W*$|[,!;:，]|\.(?! ?\d+\W*$)|\s+-|(?=\s+(?:it|they|he|she"
    r"|there|this|that|we|you)\b))\s*",
    _FLAGS,
)
"""Yes or no at the beginning of a sentence."""
OPENING = re.compile(
    r".*:$|\W*(?:let|i|we|you|sure|okay|ok|first|step|to|looking|here|solution|explanation|hello|hi|thanks?)\b", _FLAGS
)
"""Short sentences that begin a reply and are no answer."""
LONE_VALUE = re.compile(
    r"\W?(?:(?:option|choice) )?\W?[A-Z](?:[).:\]}]+.{0,60}|\W?)|yes|no|true|false|是|否|不是", _FLAGS
)
"""A letter of a choice, or yes or no, with nothing else."""
