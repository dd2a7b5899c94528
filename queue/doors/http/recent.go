package httpdoor

import (
	"crypto/sha256"
	"sync"

	"decom/worker/scan"
)

// recentMax is how many stored scans of a device are remembered: at the default pace
// twenty seconds of a flood, a quarter of an hour of a robot; a resend comes at once.
const recentMax = 1024

// recentDevices bounds how many devices are remembered.
const recentDevices = 4096

// recents remembers what each device stored last, so that a resend is told as such
// beyond the stream's window of 100 ms, and an id that is given to two scans is noticed.
type recents struct {
	mu      sync.Mutex
	devices map[string]*recent // by SITE/DEVICE of the scan; guarded by mu
}

type recent struct {
	byID map[string]remembered
	ring []string // ids in the order of storing
	next int
}

type remembered struct {
	seq  uint64
	what [sha256.Size]byte
}

// meaning is what makes two events with one id the same scan: operation, entry and pack.
// The time is left out: some senders take a new one when they send again.
func meaning(e scan.Event) [sha256.Size]byte {
	h := sha256.New()
	part := func(s string) { _, _ = h.Write(append([]byte(s), 0)) } // a hash never fails
	part(e.Op.String())
	part(string(e.Entry))
	part(e.Scan)
	if f := e.Fields; f != nil {
		for _, s := range []string{f.Scheme, f.Code, f.Serial, f.Batch, f.Expiry} {
			part(s)
		}
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// find says whether this id was stored for the device, and whether for another scan.
func (r *recents) find(e scan.Event) (seq uint64, known, other bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.devices[e.Source()]
	if d == nil {
		return 0, false, false
	}
	m, known := d.byID[e.ID]
	return m.seq, known, known && m.what != meaning(e)
}

func (r *recents) store(e scan.Event, seq uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.devices[e.Source()]
	if d == nil {
		if len(r.devices) >= recentDevices {
			clear(r.devices) // a site's token that makes up devices; forgetting is harmless
		}
		d = &recent{byID: map[string]remembered{}}
		r.devices[e.Source()] = d
	}
	if _, known := d.byID[e.ID]; known {
		return
	}
	if len(d.ring) < recentMax {
		d.ring = append(d.ring, e.ID)
	} else {
		delete(d.byID, d.ring[d.next])
		d.ring[d.next] = e.ID
		d.next = (d.next + 1) % recentMax
	}
	d.byID[e.ID] = remembered{seq, meaning(e)}
}
