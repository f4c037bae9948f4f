"""``python -m tests.gallery [--only REGEX] [--list]``"""

import sys

from tests.gallery.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
