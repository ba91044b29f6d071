"""Casedrop: a patient folder dropped on a share becomes a verified display set.

watch      something stirred under drop/, or the rescan is due: list what is there
settle     the folder has stopped changing, by every sign we can read, and lacks nothing it should have
group      its files become a display set by the socket rules, or we say exactly why not
prepare    each file is read once: checksums, and what its header says of the image
upload     each file goes up in parts, resumable, in bounded memory
commit     one request gives the display set its title and all its values, or changes nothing
confirm    the platform holds every value we meant to send, and it is the same image
file away  one rename to done/ or failed/, with a receipt or a reason beside it
"""

__version__ = "0.1.0"
