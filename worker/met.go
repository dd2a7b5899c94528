package worker

import (
	"encoding/binary"
	"math/bits"

	"decom/worker/scan"
)

// met remembers which packs a rebuild has come to, so that the others need no view: the projection
// began empty, and this rebuild alone has moved its head since (see projector.unknown). It may take
// a pack that is new for one that it has met, one in some hundred or less, and that pack is viewed;
// it never takes one that it has met for a new one. It is a Bloom filter that keeps all bits of
// a pack in one line of the processor's cache.
type met struct{ lines [][8]uint64 }

const (
	metBits  = 13      // a pack, of those expected
	metLines = 1 << 17 // at most: 8 MiB, whatever the ledger's length; enough for some 10 million packs
	metMarks = 5       // bits of a pack
)

// newMet returns one for about so many packs; more only cost more views.
func newMet(packs int) *met {
	lines := min(max(packs, 1)*metBits/512+1, metLines)
	return &met{make([][8]uint64, 1<<bits.Len(uint(lines-1)))}
}

// add adds a pack and says whether it was there, perhaps.
func (m *met) add(k scan.PackID) (perhaps bool) {
	var name [16]byte
	copy(name[:], k)
	// A pack's name is a hash already, as text: this spreads its bits.
	hi, lo := bits.Mul64(binary.LittleEndian.Uint64(name[:8])^0x9e3779b97f4a7c15, binary.LittleEndian.Uint64(name[8:])^0xd6e8feb86659fd93)
	h := hi ^ lo
	line := &m.lines[h&uint64(len(m.lines)-1)]
	h >>= bits.Len(metLines - 1)
	perhaps = true
	for range metMarks {
		word, mark := &line[h>>6&7], uint64(1)<<(h&63)
		perhaps = perhaps && *word&mark != 0
		*word |= mark
		h >>= 9
	}
	return perhaps
}
