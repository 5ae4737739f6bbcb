"""Telling people: who is told what (`routes`), when not (`windows`), in which words (`message`), and by which way."""
