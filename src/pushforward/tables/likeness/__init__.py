"""Two tables beside one another: are rows of one like those of the other, and are they copies?"""
