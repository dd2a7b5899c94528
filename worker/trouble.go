package worker

import (
	"sync"
	"time"
)

// troubleEvery is how long a trouble that lasts stays out of the log after it was told:
// an outage of a night must not fill a disk, and still be found in the morning.
const troubleEvery = 5 * time.Minute

// troubles remembers what was told, and when.
type troubles struct {
	mu   sync.Mutex
	told map[string]time.Time // guarded by mu
}

// news says whether what is to be told now.
func (t *troubles) news(what string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last, told := t.told[what]; told && time.Since(last) < troubleEvery {
		return false
	}
	if t.told == nil {
		t.told = map[string]time.Time{}
	}
	t.told[what] = time.Now()
	return true
}

// trouble tells that something outside fails and that the work waits for it: the log now
// and then, the hook each time.
func (a *Account) trouble(what string, err error) {
	if a.troubles.news(what) {
		a.log.Warn("waiting for a dependency", "what", what, "err", err)
	}
	if h := a.deps.Hooks.Trouble; h != nil {
		h(what, err)
	}
}
