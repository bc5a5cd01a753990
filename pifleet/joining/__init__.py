"""How a machine comes into the fleet: wheelhouse, tokens, enrolment, cards, and being found."""
