"""What can be said: one table of forms, read in both directions. The teller fills in a form, the judge recognizes it.

A form is one line, `text | claims | effects`. The text has slots:

    {A} {B} {C}   who: "Anna", "the goat"
    {t} {u}       a thing that is known: "the kite", "the red kite"; {at} {au}: one that is new, "a red kite"
    {c} {ac}      a thing that holds things: "the basket", "a basket"
    {P} {Q}       where: "on the hill"; {p} {q}: the place alone, "the hill"
    {v} {w}       what one does with {t}: "fly", "flew"
    {h} {h2}      "his" or "her", "he" or "she", of A
    {it}          "it": the thing that was named last

Claims (at, has, in, near, wish) must hold before the sentence. Effects hold after it: be, own and beside introduce
somebody or something; go, get, put, into, bring and beside move it (`World.change`). What a form claims is a fact that
a reader can check, and it hangs on the later of the claim's two slots.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

FORMS = """
# start: who, where, with what
{A} was a cheerful child and sat {P} with {at}. | | be A P; own A t
Listen: one day {A} was {P} and had {at}. | | be A P; own A t
In those days {A} lived {P} and owned nothing but {at}. | | be A P; own A t
“I am going to have some fun today,” said {A} {P} and picked up {at}. | | be A P; own A t
Just after breakfast {A} walked to {p} with {at}. | | be A P; own A t
The snow had melted, and {A} was {P} with {at}. | | be A P; own A t
On the first day of spring {A} carried {at} to {p}. | | be A P; own A t
{A}, a clever child, had made {at} and was {P} with it. | | be A P; own A t
An uncle had sent {A} {at}, and now {A} was {P} with it. | | be A P; own A t
One evening {A} sat {P} and held {at} up to the light. | | be A P; own A t
You should have seen {A} {P} with {at}! | | be A P; own A t
Years ago {A} won {at} in a race and ran to {p} with it. | | be A P; own A t
One morning {A} was {P} with {at}. | | be A P; own A t
One day {A} found {at} {P}. | | be A P; own A t
One sunny day {A} stood {P} with {at} in {h} hands. | | be A P; own A t
It was a fine morning, and {A} sat {P} with {at}. | | be A P; own A t
Early one morning {A} came to {p} with {at}. | | be A P; own A t
Once upon a time {A} owned {at} and played with it {P}. | | be A P; own A t
Once {A} got {at} as a present and opened it {P}. | | be A P; own A t
On {h} birthday {A} was {P} and got {at}. | | be A P; own A t
Last summer {A} was {P} with {at}. | | be A P; own A t
It was still early when {A} came to {p} with {at} under {h} arm. | | be A P; own A t
Nobody was as proud as {A}, who stood {P} and showed everyone {at}. | | be A P; own A t
There was once a child called {A}, who was {P} with {at}. | | be A P; own A t

# alone: who, where
One morning {A} was {P}. | | be A P
Once upon a time {A} was {P} and had nothing to do. | | be A P
It was a quiet day, and {A} sat {P}. | | be A P
{A} woke up early and went straight to {p}. | | be A P
On a windy day {A} played {P}. | | be A P
One afternoon {A} was bored and walked to {p}. | | be A P
Last winter {A} spent a whole day {P}. | | be A P
There was once a child called {A}, who liked to sit {P}. | | be A P

# friend: somebody else, somewhere
{B} was fishing {Q}. | | be B Q
{B} was looking for mushrooms {Q}. | | be B Q
Every day {B} could be found {Q}. | | be B Q
{B} was taking a nap {Q}. | | be B Q
Meanwhile {B} practised handstands {Q}. | | be B Q
{A} did not know {B} yet, who was {Q}. | | be B Q
{B} was baking waffles {Q}. | | be B Q
{B} was {Q} that day. | | be B Q
{A} had a friend, {B}, who was {Q}. | | be B Q
{B} was busy {Q}. | | be B Q
Not far away, {B} was {Q}. | | be B Q
At the same time {B} was {Q}. | | be B Q
{B} had gone to {q}. | | be B Q
Everyone knew that {B} was {Q}. | | be B Q
{B} sat {Q} and hummed a song. | | be B Q
{B} slept {Q}. | | be B Q
{Q}, {B} told stories to the birds. | | be B Q

# neighbour: somebody else, somewhere, with something
{B} was mending a fence {Q} and had {au} along. | | be B Q; own B u
Every day {B} came to {q} with {au}. | | be B Q; own B u
{B}, the neighbour, was {Q} with {au}. | | be B Q; own B u
Not far away, {B} was {Q} with {au}. | | be B Q; own B u
Meanwhile {B} sat {Q} and held {au}. | | be B Q; own B u
{B} was {Q} and had {au}. | | be B Q; own B u
{B} had brought {au} to {q}. | | be B Q; own B u
{A} had a friend, {B}, who was {Q} with {au}. | | be B Q; own B u
{Q}, {B} was playing with {au}. | | be B Q; own B u
Down the road, {B} carried {au} to {q}. | | be B Q; own B u
{B} waited {Q} with {au}. | | be B Q; own B u

# company: two more, one of them with something
{B} was {Q} with {au}, and {C} was {P}. | | be B Q; own B u; be C P
While {B} sat {Q} with {au}, {C} slept {P}. | | be B Q; own B u; be C P
{C} was {P}, and {B} was {Q} with {au}. | | be C P; be B Q; own B u
Meanwhile {B} was {Q} with {au}, and {C} sat {P}. | | be B Q; own B u; be C P
{B} had brought {au} to {q}, and {C} was busy {P}. | | be B Q; own B u; be C P
At the same time {C} was {P}, and {B} played {Q} with {au}. | | be C P; be B Q; own B u

# gathering: two in one place, and somebody elsewhere with something
{A} and {B} were {P}, and {C} was {Q} with {au}. | | be A P; be B P; be C Q; own C u
One day {A} and {B} met {P}, while {C} sat {Q} with {au}. | | be A P; be B P; be C Q; own C u
{C} was {Q} with {au}, and {A} and {B} played {P}. | | be C Q; own C u; be A P; be B P
Just after breakfast {A} and {B} ran to {p}, and {C} came to {q} with {au}. | | be A P; be B P; be C Q; own C u
{A} and {B} were sitting {P}, and {C} was {Q} and had {au}. | | be A P; be B P; be C Q; own C u

# together: two who are in one place
{A} was showing {B} around {p}. | | be A P; be B P
On the first day of spring {A} and {B} were {P}. | | be A P; be B P
“What shall we do {P}?” asked {A}, and {B} had an idea. | | be A P; be B P
One evening {A} and {B} were sitting {P}. | | be A P; be B P
Just after breakfast {A} and {B} ran to {p}. | | be A P; be B P
Hand in hand {A} and {B} came to {p}. | | be A P; be B P
{A} and {B} were {P}. | | be A P; be B P
One day {A} and {B} met {P}. | | be A P; be B P
{A} and {B} spent the morning {P}. | | be A P; be B P
It was a warm day, and {A} and {B} played {P}. | | be A P; be B P
{A} went to {p} with {B}. | | be A P; be B P
Once upon a time {A} and {B} sat {P} and talked. | | be A P; be B P
{A} and {B} were good friends and often met {P}. | | be A P; be B P

# lies: a thing somewhere
There was something {P}: {at}. | | be t P
Half hidden {P} lay {at}. | | be t P
A traveller had left {at} behind {P}. | | be t P
Under a heap of leaves {P} there was {at}. | | be t P
A mole had dug up {at} {P}. | | be t P
There was {at} {P}. | | be t P
Somebody had left {at} {P}. | | be t P
All alone, {at} lay {P}. | | be t P
Nobody had noticed that {at} lay {P}. | | be t P
People said that there was {at} {P}. | | be t P
The wind had blown {at} away, and now it lay {P}. | | be t P
Long ago, somebody had lost {at} {P}. | | be t P

# stands: a thing that holds things, somewhere
Next to {A} stood {ac}. | | beside c A
A few steps from {A} lay {ac}. | | beside c A
Behind {A} there was {ac}. | | beside c A

# brings: a thing that holds things, and who has it
{A} had also brought {ac}. | | own A c
{A} had {ac} as well. | | own A c
{A} also carried {ac}. | | own A c
“I need {ac},” said {A} and fetched one. | | own A c
Grandmother gave {A} {ac}. | | own A c

# wish: what somebody wants to do
{A} could hardly wait to {v} {t}. | | wish A t
The dearest wish of {A} was to {v} {t}. | | wish A t
“Whoever can {v} {t} must be happy,” thought {A}. | | wish A t
{A} wanted to {v} {t}. | | wish A t
More than anything, {A} wanted to {v} {t}. | | wish A t
“I want to {v} {t},” said {A}. | | wish A t
{A} dreamed of the day when {h2} could {v} {t}. | | wish A t
“If only I could {v} {t}!” thought {A}. | | wish A t
{A} had always wanted to {v} {t}. | | wish A t
“Today I will {v} {t},” {A} decided. | | wish A t

# errand: what somebody wants to bring
“How surprised {B} will be to get {t}!” thought {A}. | has A t |
{A} was sure that {B} would love {t}. | has A t |
{A} wanted to give {t} to {B}. | has A t |
“I must bring {t} to {B},” said {A}. | has A t |
{A} had promised {B} to bring {t}. | has A t |
“This is a present for {B},” said {A} and wrapped {t} in paper. | has A t |
It was {B} who needed {t}, and {A} knew it. | has A t |

# go: from one place to another
{A} skipped along the path to {q}. | | go A Q
A cart full of hay took {A} from {p} to {q}. | at A P | go A Q
{A} tiptoed away from {p} and crept to {q}. | at A P | go A Q
{A} rode a friendly camel from {p} to {q}. | at A P | go A Q
The path from {p} to {q} was muddy, but {A} did not mind. | at A P | go A Q
{A} put {t} in a pocket and marched to {q}. | has A t | bring A t Q
{A} followed the footprints of {B} to {q}. | at B Q | go A Q
“{B} must be lonely {Q},” thought {A} and went there. | at B Q | go A Q
{A} hugged {t} and jogged from {p} to {q}. | has A t; at A P | bring A t Q
{A} went to {q}. | | go A Q
{A} left {p} and went to {q}. | at A P | go A Q
{A} walked from {p} to {q}. | at A P | go A Q
{A} ran all the way from {p} to {q}. | at A P | go A Q
{A} said goodbye to {p} and set off for {q}. | at A P | go A Q
Soon {A} grew tired of {p} and wandered to {q}. | at A P | go A Q
From {p} it is not far to {q}, so {A} went there. | at A P | go A Q
Then {A} hurried to {q}. | | go A Q
{A} whistled a tune and strolled to {q}. | | go A Q
{A} climbed over a fence and came to {q}. | | go A Q
After lunch {A} left {p} for {q}. | at A P | go A Q
{A} took {t} to {q}. | has A t | bring A t Q
{A} carried {t} from {p} to {q}. | has A t; at A P | bring A t Q
With {t} in {h} hands, {A} walked to {q}. | has A t | bring A t Q
{A} held {t} tight and ran to {q}. | has A t | bring A t Q
{A} left {p} for {q}, and {t} came along. | at A P; has A t | bring A t Q
{A} went to {q}, where {B} was. | at B Q | go A Q
{A} left {p} and ran to {q} to see {B}. | at A P; at B Q | go A Q
{A} took {t} to {q} and met {B} there. | has A t; at B Q | bring A t Q
{A} knew that {B} was {Q} and went there too. | at B Q | go A Q
“I will visit {B},” said {A} and went to {q}. | at B Q | go A Q

# haul: to carry a thing that holds things
{A} carried {c} to {q}. | has A c | bring A c Q
{A} took {c} along to {q}. | has A c | bring A c Q
{A} left {p} and carried {c} to {q}. | at A P; has A c | bring A c Q
“How heavy {c} is!” said {A}, but carried it to {q}. | has A c | bring A c Q
{A} pulled {c} all the way from {p} to {q}. | has A c; at A P | bring A c Q

# lift: to pick up a thing that holds things
{A} picked up {c}. | near A c | get A c
{A} lifted {c} with both arms. | near A c | get A c
“I will take {c},” said {A}. | near A c | get A c
{A} took {c}. | near A c | get A c

# take: a thing that lies there
{A} picked up {t}. | near A t | get A t
{A} saw {t} and picked it up. | near A t | get A t
{A} found {t} {P} and took it. | at A P; at t P | get A t
There lay {t}, and {A} put it in {h} pocket. | near A t | get A t
{P}, {A} found {t}. | at A P; at t P | get A t
“Look what I have found!” called {A} and held up {t}. | near A t | get A t
{A} looked around {p} until {t} turned up. | at A P; at t P | get A t
“There is {t}!” cried {A} and grabbed it. | near A t | get A t

# unpack: out of what holds it
{A} took {t} out of {c}. | near A c; in t c | get A t
{A} opened {c} and found {t}. | near A c; in t c | get A t
{A} looked into {c}, and there was {t}. | near A c; in t c | get A t
Out of {c} {A} pulled {t}. | near A c; in t c | get A t
Inside {c}, {A} found {t}. | near A c; in t c | get A t
“So {t} was in {c} all the time!” laughed {A} and took it out. | in t c; near A c | get A t

# put: to leave something where one is
{A} put {t} down {P}. | has A t; at A P | put t P
{A} left {t} {P}. | has A t; at A P | put t P
{A} hid {t} {P}. | has A t; at A P | put t P
Without a sound {A} hid {t} {P}. | has A t; at A P | put t P
“Nobody will look {P},” whispered {A} and hid {t} there. | at A P; has A t | put t P
{A} laid {t} on the ground. | has A t | beside t A
{A} put {t} down for a while. | has A t | beside t A

# lose: without noticing
Without noticing, {A} dropped {t} {P}. | has A t; at A P | put t P
{A} tripped, and {t} fell to the ground. | has A t | beside t A
The wind blew, and {A} let go of {t}. | has A t | beside t A
{A} chased a butterfly and forgot {t} {P}. | has A t; at A P | put t P
{P}, {A} fell asleep, and {t} rolled away into the grass. | at A P; has A t | put t P
{A} was so busy {P} that {t} was forgotten there. | at A P; has A t | put t P

# pack: into what holds things
{A} put {t} in {c}. | has A t; near A c | into t c
{A} hid {t} in {c}. | has A t; near A c | into t c
{A} laid {t} in {c} and closed the lid. | has A t; near A c | into t c
“{t} will be safe in {c},” said {A} and put it there. | has A t; near A c | into t c
Carefully {A} packed {t} in {c}. | has A t; near A c | into t c

# give
{A} had a surprise for {B}, and it was {t}. | near A B; has A t | get B t
“Catch!” called {A} and threw {t} to {B}. | has A t; near A B | get B t
{A} bowed and offered {B} {t}. | near A B; has A t | get B t
“Close your eyes, {B},” said {A} and handed over {t}. | near A B; has A t | get B t
{A} gave {B} {t}. | near A B; has A t | get B t
{A} gave {t} to {B}. | has A t; near A B | get B t
{A} handed {t} to {B} with a smile. | has A t; near A B | get B t
“Here is {t},” said {A} and gave it to {B}. | has A t; near A B | get B t
“{t} is for you,” said {A} and gave it to {B}. | has A t; near A B | get B t
{B} got {t} from {A}. | has A t; near A B | get B t
“Please take {t},” said {A} to {B}. | has A t; near A B | get B t
{A} let {B} have {t}. | near A B; has A t | get B t

# lend
{A} lent {B} {t}. | near A B; has A t | get B t
“You may borrow {t},” said {A} to {B}. | has A t; near A B | get B t
“Take good care of {t},” said {A} and gave it to {B}. | has A t; near A B | get B t
{B} asked nicely, and {A} lent {B} {t}. | near A B; has A t | get B t

# return: to give back
{A} was sorry and gave {t} back to {B}. | has A t; near A B | get B t
{A} grew tired of {t} and gave it back to {B}. | has A t; near A B | get B t
“This is yours,” said {A} and gave {t} back to {B}. | has A t; near A B | get B t
“Thank you for {t},” said {A} and gave it back to {B}. | has A t; near A B | get B t
{B} shared a sandwich with {A} and got {t} back. | near B A; has A t | get B t
{B} politely asked {A} for {t} and got it. | near B A; has A t | get B t
{A} blushed and handed {t} back to {B}. | has A t; near A B | get B t
{B} tickled {A} until {A} let go of {t}. | near B A; has A t | get B t
“Did you miss {t}, {B}?” asked {A} and gave it back. | has A t; near A B | get B t
{B} offered {A} a honey biscuit and took {t} back. | near B A; has A t | get B t

# swap
{A} gave {B} {t} and got {u}. | near A B; has A t; has B u | get B t; get A u
{A} and {B} swapped {t} for {u}. | near A B; has A t; has B u | get B t; get A u
“Shall we swap?” asked {A}, and soon {B} had {t} and {A} had {u}. | near A B; has A t; has B u | get B t; get A u
“I will give you {t} for {u},” said {A}, and {B} agreed. | has A t; has B u; near A B | get B t; get A u

# steal: somebody who comes along
Quick as lightning, {C} took {t} and galloped to {q}. | | get C t; bring C t Q
“That is a fine thing,” thought {C}, grabbed {t} and hurried to {q}. | | get C t; bring C t Q
Along came {C}, snatched {t} and ran to {q}. | | get C t; bring C t Q
Suddenly {C} grabbed {t} from {A} and ran off to {q}. | has A t | get C t; bring C t Q
But {C} thought that {t} was a toy and carried it off to {q}. | | get C t; bring C t Q
When {A} looked away, {C} took {t} and fled to {q}. | has A t | get C t; bring C t Q
Oh dear, {C} stole {t} and dragged it to {q}! | | get C t; bring C t Q

# still: somebody has something
{A} hid {t} behind {h} back. | has A t |
{A} balanced {t} on {h} nose. | has A t |
{A} whispered a secret to {t}. | has A t |
“You may look at {t}, but do not touch it,” said {A}. | has A t |
{A} kissed {t} for luck. | has A t |
“How I love {t}!” murmured {A}. | has A t |
A butterfly landed on {t}, and {A} stood very still. | has A t |
{A} still had {t}. | has A t |
{A} held {t} in {h} hands. | has A t |
{A} looked at {t} and smiled. | has A t |
“I am so happy with {t},” said {A}. | has A t |
{A} showed everybody {t}. | has A t |
“Nobody may touch {t},” said {A}. | has A t |
{A} was proud of {t}. | has A t |
{A} did not let go of {t}. | has A t |
{A} turned {t} round and round. | has A t |
So now {t} belonged to {A}. | has A t |
Everybody could see that {t} was with {A}. | has A t |
“{t} is mine now,” sang {A}. | has A t |
“Who has {t}?” somebody asked, and {A} said: “I have it.” | has A t |
{A} wiped the dust off {t}. | has A t |
{A} counted to ten and did not lose {t}. | has A t |

# whereis: somebody is somewhere
A frog {P} blinked at {A}. | at A P |
An old snail {P} wished {A} a good day. | at A P |
Two mice {P} giggled when they saw {A}. | at A P |
{A} drew a funny face in the dust {P}. | at A P |
{A} counted the clouds over {p}. | at A P |
{A} sang so loudly that everybody {P} listened. | at A P |
A bee buzzed around {A} {P}. | at A P |
Nothing {P} escaped the sharp eyes of {A}. | at A P |
{A} had never felt so brave as {P}. | at A P |
It smelled of warm soup {P}, and {A} grew hungry. | at A P |
{A} sneezed three times {P}. | at A P |
“Is anybody here?” called {A} {P}, but only a spider answered. | at A P |
Yellow leaves danced around {A} {P}. | at A P |
{A} hopped on one leg all around {p}. | at A P |
“One day I will live {P},” said {A}. | at A P |
{A} lay down {P} and listened to the wind. | at A P |
A kind grandmother {P} gave {A} a bowl of porridge. | at A P |
{P}, nobody was merrier than {A}. | at A P |
{A} made friends with a lizard {P}. | at A P |
There was so much to see {P} that {A} forgot the time. | at A P |
{A} told a riddle to a sparrow {P}. | at A P |
A ladybird {P} landed on {A}. | at A P |
{A} was still {P}. | at A P |
{A} liked it {P}. | at A P |
{A} looked around {p}. | at A P |
{A} sat down {P} and rested. | at A P |
“It is lovely {P},” said {A}. | at A P |
{A} ate an apple {P}. | at A P |
{A} danced {P}. | at A P |
The birds {P} sang for {A}. | at A P |
{P}, {A} took a deep breath. | at A P |
By now {A} was {P}. | at A P |
“Here {P} I feel at home,” said {A}. | at A P |
A cold wind blew {P}, and {A} shivered. | at A P |
{A} waved to a beetle {P}. | at A P |
The sun shone {P}, and {A} blinked. | at A P |

# both: somebody is somewhere with something
{A} showed {t} to all the sparrows {P}. | has A t; at A P |
There {A} was, {P}, with nothing but {t}. | at A P; has A t |
A goldfish would have laughed at {A} and {t} {P}. | has A t; at A P |
{A} was {P} with {t}. | at A P; has A t |
{A} sat {P} and looked at {t}. | at A P; has A t |
Nothing was missing {P}, for {A} had {t}. | at A P; has A t |
{P}, {A} played with {t}. | at A P; has A t |
{A} was {P}, and so was {t}. | at A P; at t P |
Now {t} was {P}, with {A}. | at t P; has A t |
Somebody saw {A} {P} with {t}. | at A P; has A t |

# lying: a thing is somewhere
The wind could not reach {t} {P}. | at t P |
A mouse {P} sniffed at {t}. | at t P |
Moonlight fell on {t} {P}. | at t P |
Dust danced around {t} {P}. | at t P |
Somebody {P} almost stepped on {t}. | at t P |
How did {t} ever get to {p}? | at t P |
{t} had come a long way and was {P}. | at t P |
If you look for {t}, you must look {P}. | at t P |
{P}, everyone could admire {t}. | at t P |
{t} was {P}. | at t P |
Now {t} was {P}. | at t P |
By then {t} was {P}. | at t P |
{t} stayed {P}. | at t P |
All this time {t} was {P}. | at t P |
Nobody {P} took any notice of {t}. | at t P |
So {t} had come to {p}. | at t P |
A snail {P} looked at {t} in wonder. | at t P |

# inside: a thing is in another
{c} was heavy now, with {t} in it. | in t c |
Something rattled in {c}: it was {t}. | in t c |
Only an ant saw {t} in {c}. | in t c |
Whoever had {c} now had {t} as well. | in t c |
{t} was still in {c}. | in t c |
{t} lay safely in {c}. | in t c |
Nobody knew that {t} was in {c}. | in t c |
In {c}, it was dark around {t}. | in t c |
And in {c} lay {t}. | in t c |

# wonder: somebody thinks of a thing that is elsewhere
Far away, {A} dreamed of {t} {P}. | at t P |
“How is {t}, all alone {P}?” thought {A}. | at t P |
{A} missed {t}, which was {P}. | at t P |
A little bird told {A} that {t} was {P}. | at t P |
{A} scratched an ear and remembered: {t} was {P}. | at t P |
{A} thought of {t}, which was {P}. | at t P |
{A} remembered that {t} was {P}. | at t P |
{A} wondered if {t} was still {P}, and it was. | at t P |
“I believe {t} is {P},” said {A}, and that was true. | at t P |

# ask
“Where is {t}?” asked {A}. | |
“Have you seen {t}?” asked {A}. | |
“Tell me, {B}, where is {t}?” asked {A}. | near A B |
{A} asked {B} where {t} was. | near A B |
{A} looked for {t} everywhere. | |
But where was {t}? | |
“Oh no, I have lost {t}!” cried {A}. | |
“{t} is gone!” cried {A}. | |

# answer: where a thing is
“{it} is {P},” said {B}. | at it P |
“{t} is {P},” said {B}. | at t P |
{B} said that {t} was {P}. | at t P |
“You will find {it} {P},” said {B}. | at it P |
“I think I saw {it} {P},” said {B}. | at it P |
“Go and look for {it} {P},” said {B}. | at it P |
{B} told {A} to look for {it} {P}. | at it P; near B A |
{B} told {A} that {t} was {P}. | near B A; at t P |

# fetch: to offer help
“I will get {t},” said {A}. | |
“Wait, I will fetch {t} for you,” {A} told {B}. | near A B |
“Do not cry, {B}, I will find {t},” promised {A}. | near A B |
{A} could not bear to see {B} so sad. | near A B |

# keeper: who has a thing
“{B} has {t},” said {A}. | has B t |
{A} knew that {B} had {t}. | has B t |
{A} heard that {t} was with {B}. | has B t |
“Ask {B} for {t},” said a small voice. | has B t |
{A} wished that {B} would bring {t} back. | has B t |
{A} envied {B}, who had {t}. | has B t |

# roundup: who has what
While {A} cared for {t}, {B} cared for {u}. | has A t; has B u |
{B} was as fond of {u} as {A} was of {t}. | has B u; has A t |
“{t} is mine, and {u} belongs to {B},” explained {A}. | has A t; has B u |
{A} had {t}, and {B} had {u}. | has A t; has B u |
Now {A} had {t} and {B} had {u}. | has A t; has B u |
{A} played with {t}, and {B} with {u}. | has A t; has B u |
“{B} has {u}, and I have {t},” said {A}. | has B u; has A t |

# apart: who is where
{A} was {P}, and {B} was {Q}. | at A P; at B Q |
While {A} was {P}, {B} was {Q}. | at A P; at B Q |
{B} was {Q}, and {A} {P} felt a little lonely. | at B Q; at A P |
{A} {P} waved, but {B} {Q} did not see it. | at A P; at B Q |

# meet: two in one place
{A} was happy to see {B}. | near A B |
“Hello, {B}!” said {A}. | near A B |
{A} and {B} sat {P} together. | near A B; at A P |
{A} hugged {B}. | near A B |
“Good that you are here, {B},” said {A}. | near A B |
{P}, {A} talked with {B} for a long time. | at A P; near A B |
{A} told {B} a joke, and both laughed. | near A B |

# thank
“How did you know what I wanted, {A}?” asked {B}. | near A B |
{B} blushed and shook hands with {A}. | near B A |
{B} was so glad that {A} had to laugh. | near B A |
“I owe you a favour, {A},” said {B}. | near A B |
{B} lifted {A} high into the air. | near B A |
“Thank you, {A}!” said {B}. | near A B |
“What a lovely surprise, {A}!” cried {B}. | near A B |
{B} thanked {A} and jumped for joy. | near B A |
“You are a true friend,” {B} told {A}. | near B A |
{B} gave {A} a hug. | near B A |

# use: the wish comes true
{A} {w} {t} with great care. | has A t |
“Hurrah!” cried {A} and {w} {t} {P}. | has A t; at A P |
{A} {w} {t} and then danced {P}. | has A t; at A P |
“It was worth the trouble,” said {A} and {w} {t}. | has A t |
Everybody {P} cheered when {A} {w} {t}. | at A P; has A t |
At last {A} could {v} {t}. | has A t |
And so {A} {w} {t} {P}. | has A t; at A P |
{A} {w} {t} {P} until the stars came out. | has A t; at A P |
That evening {A} {w} {t} and was happy. | has A t |
{P}, {A} {w} {t} again and again. | at A P; has A t |
{A} {w} {t}, and {B} clapped. | has A t; near A B |
Together {A} and {B} {w} {t}. | near A B; has A t |

# granted: the wish comes true, and it was told
Then {A} {w} {t}, just as {A} had wished. | has A t; wish A t |
So {A}, who had wished to {v} {t}, could do so at last. | wish A t; has A t |
“My wish has come true,” said {A} and {w} {t}. | has A t; wish A t |
“I will never forget this day,” said {A} and {w} {t} {P}. | has A t; at A P; wish A t |
And {A} {w} {t}, first slowly and then faster and faster. | has A t; wish A t |

# moral: a last word
“All is well that ends well,” said {A} to {B}. | near A B |
“What an adventure!” sighed {A}. | |
“Shall we play again tomorrow?” asked {A}, and {B} nodded. | near A B |
And all the frogs sang for {A} and {B}. | near A B |
{A} yawned, for it was late. | |
“Never mind the mud,” laughed {A}. | |
The stars over {p} twinkled. | |
“Tomorrow we shall bake a plum cake, {B},” said {A}. | near A B |
{A} smiled all the way to bed. | |
And if nobody has moved it, {t} is still {P}. | at t P |

# end
In the end {t} was {P}. | at t P |
In the end {A} had {t}. | has A t |
And that is how {A} came to have {t}. | has A t |
That night {t} lay {P} next to {A}. | at t P; near t A |
That night {A} slept {P} and dreamed of {t}. | at A P; has A t |
From then on {A} took {t} everywhere. | has A t |
When night fell, {t} was {P} and all was well. | at t P |
When the moon rose, {A} was still {P} with {t}. | at A P; has A t |

# finish: two and a thing
In the evening {A} and {B} sat {P} and ate soup. | near A B; at A P |
When it was dark, {A} and {B} walked home from {p}. | near A B; at A P |
{A} and {B} laughed {P} until the sun went down. | near A B; at A P |
And {A} and {B} stayed friends for ever. | near A B |
“What a day {P}!” said {A} to {B}. | at A P; near A B |

# weather: what falls from the sky, and on whom
It began to rain {P}, and {A} got wet. | at A P |
The sun came out {P}, and {A} laughed. | at A P |
Snow fell {P}, and {A} caught a flake. | at A P |
Far away from {p} thunder rolled, but {A} was not afraid. | at A P |
A rainbow stood over {p}, and {A} clapped. | at A P |
It grew dark {P}, and {A} yawned. | at A P |
Fog rose around {p}, and {A} could hardly see a thing. | at A P |
“It is raining!” cried {A} {P}. | at A P |
“How cold it is {P}!” said {A} and shivered. | at A P |
The stars came out, and {A} gazed at them {P}. | at A P |
An owl hooted {P}, and {A} hooted back. | at A P |
Swallows flew low over {p}, and {A} watched them. | at A P |
Hailstones bounced around {p}, and {A} ran for shelter. | at A P |
The puddles around {p} turned to ice, and {A} slipped. | at A P |
{A} caught raindrops {P}. | at A P |
The moon looked down on {A} {P}. | at A P |
Somewhere near {p} a rooster crowed, and {A} stretched. | at A P |
"""

SLOT = re.compile(r"\{(\w+)\}")
ENTITY = {"p": "P", "q": "Q", "at": "t", "au": "u", "ac": "c"}  # what a slot's word stands for


@dataclass(frozen=True)
class Form:
    """One way to say something: its event, its text with slots, what it claims and what it changes."""

    event: str
    text: str
    claims: tuple[tuple[str, str, str], ...]  # (relation, subject's slot, value's slot)
    effects: tuple[tuple[str, ...], ...]

    @property
    def slots(self) -> tuple[str, ...]:
        """The slots in the order of the text."""
        return tuple(SLOT.findall(self.text))

    @functools.cached_property
    def known(self) -> tuple[str, ...]:
        """The slots of things that must have been introduced, and that no claim names."""
        claimed = {slot for _, *slots in self.claims for slot in slots}
        return tuple(slot for slot in ("t", "u", "c") if slot in self.slots and slot not in claimed)


def _parse(table: str) -> list[Form]:
    forms, event = [], ""
    for line in filter(None, map(str.strip, table.splitlines())):
        if line.startswith("#"):
            event = line[1:].partition(":")[0].strip()
            continue
        text, claims, effects = (part.strip() for part in line.split("|"))
        read = [tuple(tuple(one.split()) for one in part.split(";") if one.strip()) for part in (claims, effects)]
        forms.append(Form(event, text, *read))
    return forms


ALL = _parse(FORMS)
"""Every form."""
