"""The word list of generated passphrases: 512 short, common words, easy to type and distinct."""

from __future__ import annotations

_TEXT = """
acid acorn actor adult agent album alley almond alpha amber anchor angle animal ankle apple
apron arch arena armor arrow artist atlas attic aunt autumn axis bacon badge bagel baker ball
bamboo banana band banjo bank barrel basil basket bath battle beach bead beak bean bear beard
beast beaver bell belt bench berry bicycle bird biscuit bishop bison blade blanket blaze block
blossom blue board boat bold bolt bone book boot bottle boulder bowl box bracket brain branch
brass bread breeze brick bridge broom brother brown brush bubble bucket buckle buffalo bulb
burrow bush butter button cabin cable cactus cage cake camel camera camp canal candle candy
canoe canvas canyon cape captain carbon card cargo carpet carrot cart castle cattle cave cedar
cellar chain chair chalk cheese cherry chess chest chief child chimney chin chorus church cider
cinema circle circus city clay cliff clock cloth cloud clover coach coal coast coat cobra
coconut coffee coin collar colt comb copper coral cord corn cottage cotton couch cousin cover
cow cradle crane crater cream creek cricket crow crown crystal cube cup curtain curve cycle
daisy dance dawn deck deer delta desert desk diamond diary dinner dish doctor dog dolphin
donkey door dove dragon drawer dream dress drill drum duck duke dust eagle earth east echo egg
elbow elephant elm ember empire engine envelope evening fabric falcon family farm feather fence
fern ferry field fig film finch finger fire fish flag flame flask flint flood floor flower
flute fog folk forest fork fossil fountain fox frame frog frost fruit fudge funnel galaxy
garage garden garlic gate gem ghost giant ginger giraffe glacier glass globe glove goat gold
goose gorilla grain granite grape grass gravel green grid guitar gull hammer hamster hand
harbor harp harvest hat hawk hazel heart hedge helmet herb heron hill hinge hockey honey hood
hook horn horse hotel house hunter ice icon igloo indigo ink insect iron island ivory ivy
jacket jaguar jar jelly jewel jigsaw judge juice jungle kangaroo kayak kernel kettle key king
kitchen kite kitten knee knight knot label lace ladder lagoon lake lamb lamp lantern laser
laundry lava lawn leaf leather lemon lens leopard letter lettuce lever lilac lily lime linen
lion lizard llama lobster locket log lotus lunch magnet maple marble market mask meadow melon
mercury metal meteor milk mill mint mirror mitten mole monkey moon moose morning moss moth
motor mountain mouse mud muffin mule museum mushroom napkin needle nest noodle north nose novel
nurse nut oak oasis ocean octopus olive onion opera orange orbit orchard orchid organ otter
oven owl oxygen oyster paddle page paint palace palm panda panther paper parade park parrot
pasta pearl pebble pencil penguin pepper petal piano pickle picnic pigeon pillow pilot pine
pipe pirate pizza planet plate plum pocket poem pond pony poppy potato prairie prince prism
puddle puffin pumpkin puppet puzzle pyramid quail quarry queen quilt quiver rabbit radar radio
raft rain ranch raven razor reef ribbon rice ring river robin robot rocket rope rose ruby
saddle salad salmon salt sand scarf school scout seal sheep shell ship shoe
"""
WORDS = tuple(_TEXT.split())
