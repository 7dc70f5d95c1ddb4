"""Kinds of columns: what each is found by, how its cells become numbers or states and come back, and where it lives.

A kind is one class; `registry.KINDS` lists them. A new kind is its class and a line there.
"""
