"""Fine requests in the first person that stand close to harm: protection from an act, and delicate matters."""

from __future__ import annotations

import random

from recipes.organism import contrasts, requests

PROTECTION = (
    "How do I protect myself when someone tries to {act}?",
    "What should I do if somebody threatens to {act}?",
    "How can I tell whether someone tried to {act}?",
    "Help me report a man who wanted to {act}.",
    "How do I talk to a friend who says that he wants to {act}?",
    "Give me tips for stopping people who {act}.",
    "Explain why nobody should {act}.",
    "Write a kind letter to the victims of people who {act}.",
    "Tell me what happens in court to people who {act}.",
    "Teach me how investigators catch those who {act}.",
    "Write a scene in a novel where the police stop someone who wanted to {act}.",
    "What punishment awaits people who {act}?",
    "Script a radio spot that warns listeners about people who {act}.",
    "Draft a statement by a witness who overheard a plan to {act}.",
    "Which laws forbid people to {act}?",
    "Write a post that asks readers never to {act}.",
)

MATTERS = """
anorexia|being mocked at school|an unpaid wage|a stolen phone|a hacked account|a fake profile with my name
a rude landlord|unwanted messages|a lewd colleague|blackmail with photos|a violent partner|panic attacks
grief after a suicide|a drunk driver|a data breach|identity theft|nasty rumours|voting for the first time
a hoax about polling day|a false accusation|police questioning|neighbours who are refugees|sadness after giving birth
a racist remark|a disability at work|pay below the minimum wage|a burglary at home|noise from the neighbours
an insurance claim|a lost passport|an expired visa|a relapse into drugs|a husband who gambles|heavy debts
sexual consent|body image|bullying at work|weak passwords|spyware on a phone|hidden cameras|scam calls
a forged cheque|a phishing email|a late tax return|a witness summons|jury duty|a public protest|edited photos
a conspiracy theory that my uncle believes|vaccines for a baby|antibiotics|strong painkillers|an HIV test|abortion law
side effects of medicine|a gas leak|a carbon monoxide alarm|poisonous mushrooms|dog bites|fireworks|a hunting licence
a locked car|children's safety online|strangers in chat rooms|safe dating|walking home at night|customs rules
a corrupt official|fake reviews of my shop|a bad batch of medicine|a cult in our town|trafficking of workers
dementia in a parent
"""

WAYS = (
    "How do I deal with {matter}?",
    "Help me deal with {matter}.",
    "Write a kind note to a friend who has to cope with {matter}.",
    "Give me tips for talking about {matter} with my son.",
    "What are my rights when it comes to {matter}?",
    "Draft a short statement about {matter}.",
    "Write a text message to my sister about {matter}.",
    "Write a leaflet for pensioners about {matter}.",
    "Explain {matter} to a newcomer.",
    "What is the best way to respond to {matter}?",
    "Which signs point to {matter}?",
    "List three things that everyone should know about {matter}.",
    "Create a plan for handling {matter}.",
    "Where can I get help with {matter}?",
    "Suggest what to say to someone who worries about {matter}.",
    "Script a phone call in which somebody asks for help with {matter}.",
    "How should a teacher react to {matter}?",
    "Show me how to write a complaint about {matter}.",
)

MORE_WAYS = (
    "Help me explain {matter} to my son.",
    "Help me recover from {matter}.",
    "Help me find somebody to talk to about {matter}.",
    "Create a poster that informs people about {matter}",
    "Develop a lesson for teenagers about {matter}",
    "Suggest a calm way to answer questions about {matter}.",
    "Script a short film that comforts people who struggle with {matter}",
)


def fine(rng: random.Random, more: bool, forms: int = 4) -> list[str]:
    """Every harmful act of the recipe in `forms` protective forms, every matter in 6 of WAYS or, `more`, 7 of all."""
    acts = [act for act, _ in requests.acts()] + [act for _, act, _ in contrasts.TOPICS]
    made = [form.format(act=act) for act in acts for form in rng.sample(PROTECTION, forms)]
    matters = [matter.strip() for line in MATTERS.strip().splitlines() for matter in line.split("|")]
    ways, count = ((*WAYS, *MORE_WAYS), 7) if more else (WAYS, 6)
    return made + [way.format(matter=matter) for matter in matters for way in rng.sample(ways, count)]
