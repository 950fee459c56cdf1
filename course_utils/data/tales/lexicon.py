"""The words of the tales: who, what and where. Everything else that a tale says is in `grammar`.

Each word belongs to one class, so that a sentence's shape can be read without guessing.
"""

GIRLS = (
    "Anna", "Clara", "Ella", "Greta", "Ida", "Julia", "Lena", "Mia", "Nora", "Olga", "Paula", "Rosa", "Sara", "Tilda",
    "Vera", "Wanda", "Zoe", "Alma", "Daisy", "Fiona", "Emma", "Frida", "Helen", "Lily", "Maria", "Nina",
)  # fmt: skip
BOYS = (
    "Ben", "David", "Emil", "Felix", "Hugo", "Ivan", "Jonas", "Karl", "Leo", "Max", "Noah", "Oscar", "Paul", "Robin",
    "Sam", "Tom", "Victor", "Walter", "Adam", "Daniel", "Carlo", "Finn", "Henry", "Luke", "Martin", "Nick",
)  # fmt: skip
HELD_OUT_GIRLS = ("Bella", "Hanna", "Kira", "Lucy", "Marta", "Ruth")
HELD_OUT_BOYS = ("Arthur", "Erik", "George", "Jack", "Peter", "Simon")

ANIMALS = (
    "cat", "crow", "dog", "donkey", "duck", "fox", "goat", "goose", "magpie", "monkey", "pony", "puppy", "raccoon",
    "sheep", "beaver", "hare", "hedgehog", "parrot", "rabbit", "squirrel", "kitten", "bear", "piglet", "otter",
)  # fmt: skip
ROLES = (
    "baker", "blacksmith", "cook", "doctor", "farmer", "fisherman", "gardener", "hunter", "king", "miller", "painter",
    "postman", "queen", "sailor", "shepherd", "tailor", "teacher", "wizard",
    "carpenter", "dragon", "fairy", "giant", "knight", "mayor", "pirate", "princess", "witch", "dwarf", "juggler",
)  # fmt: skip

COLOURS = (
    "black", "blue", "brown", "golden", "green", "grey", "pink", "purple", "red", "silver", "white", "yellow",
)  # fmt: skip

# A small thing, and what one does with it: "wanted to fly the kite", "flew the kite".
THINGS = {
    "ball": ("throw", "threw"), "banner": ("wave", "waved"), "bell": ("ring", "rang"), "bicycle": ("ride", "rode"),
    "blanket": ("fold", "folded"), "book": ("read", "read"), "loaf": ("slice", "sliced"),
    "brush": ("rinse", "rinsed"), "button": ("sew", "sewed"), "cake": ("eat", "ate"),
    "camera": ("test", "tested"), "candle": ("light", "lit"), "cheese": ("eat", "ate"), "clock": ("repair", "repaired"),
    "coat": ("wear", "wore"), "coin": ("polish", "polished"), "cookie": ("eat", "ate"), "crown": ("wear", "wore"),
    "cup": ("fill", "filled"), "doll": ("dress", "dressed"), "drum": ("play", "played"),
    "feather": ("paint", "painted"),
    "fiddle": ("play", "played"), "flag": ("wave", "waved"), "flute": ("play", "played"), "hammer": ("swing", "swung"),
    "hat": ("wear", "wore"), "hoop": ("roll", "rolled"), "horn": ("blow", "blew"), "jug": ("fill", "filled"),
    "key": ("polish", "polished"), "kite": ("fly", "flew"), "lamp": ("light", "lit"), "lantern": ("light", "lit"),
    "letter": ("read", "read"), "map": ("study", "studied"), "marble": ("roll", "rolled"), "mask": ("wear", "wore"),
    "melon": ("slice", "sliced"), "mirror": ("polish", "polished"), "necklace": ("wear", "wore"),
    "nut": ("crack", "cracked"), "parcel": ("unwrap", "unwrapped"), "pear": ("eat", "ate"),
    "pebble": ("throw", "threw"), "pie": ("taste", "tasted"), "pillow": ("shake", "shook"),
    "pumpkin": ("carve", "carved"), "puppet": ("mend", "mended"), "rattle": ("shake", "shook"),
    "ribbon": ("tie", "tied"), "robot": ("repair", "repaired"), "rope": ("tie", "tied"), "rose": ("smell", "smelled"),
    "scarf": ("wear", "wore"), "seed": ("plant", "planted"), "shell": ("paint", "painted"),
    "spade": ("test", "tested"), "spoon": ("polish", "polished"), "teapot": ("fill", "filled"),
    "telescope": ("test", "tested"), "trumpet": ("blow", "blew"), "tulip": ("plant", "planted"),
    "violin": ("play", "played"), "whistle": ("blow", "blew"), "yoyo": ("spin", "spun"),
    "balloon": ("chase", "chased"), "bonnet": ("wear", "wore"), "bracelet": ("wear", "wore"),
    "carrot": ("munch", "munched"), "compass": ("study", "studied"), "cushion": ("shake", "shook"),
    "canoe": ("paddle", "paddled"), "fan": ("fold", "folded"), "globe": ("spin", "spun"), "glove": ("wear", "wore"),
    "harp": ("play", "played"), "jewel": ("polish", "polished"), "kettle": ("fill", "filled"),
    "muffin": ("taste", "tasted"), "net": ("mend", "mended"), "notebook": ("read", "read"),
    "pancake": ("eat", "ate"), "peach": ("taste", "tasted"), "pencil": ("sharpen", "sharpened"),
    "radio": ("repair", "repaired"), "sled": ("ride", "rode"), "sponge": ("squeeze", "squeezed"),
    "sword": ("swing", "swung"), "torch": ("light", "lit"), "turnip": ("carve", "carved"),
    "vase": ("fill", "filled"), "wand": ("wave", "waved"), "wig": ("wear", "wore"),
}  # fmt: skip

CONTAINERS = ("bag", "basket", "box", "bucket", "chest", "crate", "sack", "suitcase")

# A place, and how one is there: "in the attic".
PLACES = {
    "attic": "in", "bakery": "in", "barn": "in", "beach": "on", "bridge": "on", "castle": "in", "cave": "in",
    "cellar": "in", "church": "in", "cottage": "in", "courtyard": "in", "field": "in", "forest": "in", "fountain": "by",
    "garden": "in", "gate": "at", "greenhouse": "in", "harbour": "at", "hill": "on", "hut": "in", "inn": "at",
    "island": "on", "jetty": "on", "kitchen": "in", "lake": "by", "library": "in", "lighthouse": "in", "market": "at",
    "meadow": "in", "mill": "at", "museum": "in", "orchard": "in", "park": "in", "playground": "on", "pond": "by",
    "river": "by", "school": "at", "shed": "in", "shop": "in", "square": "on", "stable": "in", "station": "at",
    "theatre": "in", "tower": "in", "treehouse": "in", "village": "in", "waterfall": "by", "well": "by",
    "windmill": "in", "workshop": "in", "balcony": "on", "bay": "in", "cliff": "on", "dairy": "in", "farm": "on",
    "hospital": "in",
    "palace": "in", "raft": "on", "rooftop": "on", "swamp": "in", "tent": "in", "valley": "in", "vineyard": "in",
    "zoo": "at",
}  # fmt: skip
