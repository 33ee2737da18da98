"""Kinds of variables: what is believed about one, how that is drawn, judged and sharpened."""
