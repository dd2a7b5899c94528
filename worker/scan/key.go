package scan

import "cmp"

// Key is the order of scans of one pack: (min(at, stream time), device, id)
// (protocol.md section 2). Device and id only break ties, so they are kept as
// short tags; the order stays total and is the same in every process.
type Key struct {
	MS     int64  // milliseconds since 1970, UTC
	Device uint32 // tag of SITE/DEVICE
	ID     uint32 // 24-bit tag of source and event id, as in the `seen` list
}

// NewKey returns the key of the event ev that src (SITE/DEVICE) sent.
func NewKey(ms int64, src, ev string) Key {
	return Key{MS: ms, Device: fnv(fnvStart, src), ID: SeenTag(src, ev)}
}

// SeenTag is the 24-bit tag under which a pack remembers an event. It covers
// the source, so that two devices that number their scans alike do not meet.
func SeenTag(src, ev string) uint32 {
	h := fnv(fnv(fnvStart, src)*fnvPrime, ev)
	h = (h>>24 ^ h) & 0xffffff
	if h == 0 {
		return 1
	}
	return h
}

// Compare orders keys: negative when k is older than o.
func (k Key) Compare(o Key) int {
	if c := cmp.Compare(k.MS, o.MS); c != 0 {
		return c
	}
	if c := cmp.Compare(k.Device, o.Device); c != 0 {
		return c
	}
	return cmp.Compare(k.ID, o.ID)
}

// IsZero says that no event was seen yet.
func (k Key) IsZero() bool { return k == Key{} }
