"""From one release to the next: start, prove, switch, drain, end. Knows releases and their plans,
not why there is a new one; touches what serves, through `host`, and the state of that unikernel."""
