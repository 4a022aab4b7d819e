"""What is bookable, when, and why not: the pure domain of medforall.

No I/O, no wire types and no clock of its own. Search, hold, book, reschedule and explain all ask this
package, so that a slot that is offered and a booking that is accepted are judged by the same code.
"""
