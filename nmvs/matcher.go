package nmvs

import "strings"

// matcher finds a reply's packs among those of the call, by serial, or by ClientTrxId in a
// mixed bulk, and lends the call's own texts, so that a reply that names 100,000 packs
// holds no copy of their names. Replies mostly keep the order of the request: the next
// pack is tried first, and a table is built when that fails once.
//
// Of packs that have one name in a call, which no request may hold, it finds one.
type matcher struct {
	call *Call // nil: nothing is found
	next int
	at   map[string]int
}

func (m *matcher) reset(call *Call) { *m = matcher{call: call} }

func (m *matcher) packs() []Pack {
	if m.call == nil {
		return nil
	}
	return m.call.Packs
}

func (m *matcher) name(p *Pack) string {
	if m.call.Service == Mixed {
		return p.C
	}
	return p.Serial
}

// find returns the place of a name in Call.Packs, -1 if it has none.
func (m *matcher) find(name []byte) int {
	packs := m.packs()
	if m.next < len(packs) && m.name(&packs[m.next]) == string(name) {
		m.next++
		return m.next - 1
	}
	if m.at == nil {
		m.at = make(map[string]int, len(packs))
		for i := range packs {
			m.at[m.name(&packs[i])] = i
		}
	}
	i, ok := m.at[string(name)]
	if !ok {
		return -1
	}
	m.next = i + 1
	return i
}

// serialOf returns the serial of the mixed bulk's pack at i, or of the one expected next
// if i is -1 (the item's id may come later), if it is that.
func (m *matcher) serialOf(i int, serial []byte) (string, bool) {
	if i < 0 {
		i = m.next
	}
	if packs := m.packs(); i < len(packs) && packs[i].Serial == string(serial) {
		return packs[i].Serial, true
	}
	return "", false
}

// slab makes strings with one allocation for many. They keep each other alive: it is for
// what one reply holds.
type slab struct {
	chunk strings.Builder
	size  int
}

// Sizes of a slab's pieces, bytes: the first has room for the ids of a single reply.
const (
	slabFirst = 64
	slabMost  = 8 << 10
)

func (s *slab) add(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if s.chunk.Cap()-s.chunk.Len() < len(b) {
		s.size = min(max(2*s.size, slabFirst), slabMost)
		s.chunk = strings.Builder{}
		s.chunk.Grow(max(s.size, len(b)))
	}
	n := s.chunk.Len()
	s.chunk.Write(b)
	return s.chunk.String()[n:]
}
