package chaos

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// chain is an account's ledger as it was read back at the end: sequences in order, and the
// record's hash at each.
type chain struct {
	seqs   []uint64
	hashes []string
	at     map[string]uint64 // hash -> sequence
}

func (c *chain) add(seq uint64, hash string) {
	if c.at == nil {
		c.at = map[string]uint64{}
	}
	c.seqs, c.hashes = append(c.seqs, seq), append(c.hashes, hash)
	c.at[hash] = seq
}

// first is the first sequence from from on, 0 if none.
func (c *chain) first(from uint64) uint64 {
	i, _ := slices.BinarySearch(c.seqs, from)
	if i == len(c.seqs) {
		return 0
	}
	return c.seqs[i]
}

// checkHistory says whether the operations on one account's ledger, as the tap saw them, are
// those of one compare-and-set register (assumption A1 of protocol.md, and the reads at the
// leader on which an append without an answer rests).
//
// The model's state is the sequence of the subject's last record; 0 before the first. An
// append(prev, hash) that was acknowledged with seq needs state == prev and sets it to seq. A
// refused one needs state != prev, and state == the sequence that the refusal names, if any. One without an
// answer may have happened or not: it is held against the chain that was read back, so it is
// left out when its hash is not there. "Duplicate" needs the record to be there already. A read needs its
// answer to be the first record at or after the one asked for, and nothing of the chain
// between. An operation lies between the moments at which the tap, at the worker's end of
// every proxy, saw request and answer.
func checkHistory(ops []*op, c *chain, patience time.Duration) (porcupine.CheckResult, int, []string) {
	var bad []string
	wonBy := map[string]bool{}
	for _, o := range ops {
		if o.append && o.out == won {
			wonBy[o.hash] = true
			if i, ok := slices.BinarySearch(c.seqs, o.seq); !ok || c.hashes[i] != o.hash {
				bad = append(bad, fmt.Sprintf("CHAIN: an append was acknowledged as %d and is not on the ledger there", o.seq))
			}
		}
	}
	var history []porcupine.Operation
	for _, o := range ops {
		ret := int64(o.ret)
		if o.ret == 0 || o.out == unknown {
			if !o.append || c.at[o.hash] == 0 || wonBy[o.hash] {
				continue // without effect, or it is known which of the copies had it
			}
			ret = math.MaxInt64
		}
		history = append(history, porcupine.Operation{ClientId: o.conn, Input: o, Call: int64(o.call), Output: o, Return: ret})
	}
	model := porcupine.NondeterministicModel{
		Init:  func() []any { return []any{uint64(0)} },
		Step:  func(state, input, _ any) []any { return step1(c, state.(uint64), input.(*op)) },
		Equal: func(a, b any) bool { return a == b },
	}
	return porcupine.CheckOperationsTimeout(model.ToModel(), history, patience), len(history), bad
}

// step1 is the model: the states in which the register may be after o, none if o cannot
// happen in this one.
func step1(c *chain, last uint64, o *op) []any {
	ok := func(allowed bool) []any {
		if allowed {
			return []any{last}
		}
		return nil
	}
	switch {
	case o.append && o.out == won:
		if last == o.prev {
			return []any{o.seq}
		}
		return nil
	case o.append && o.out == lost:
		return ok(last != o.prev && (o.seq == 0 || last == o.seq))
	case o.append && o.out == duplicate:
		return ok(last >= o.seq)
	case o.append:
		if last == o.prev {
			return []any{last, c.at[o.hash]}
		}
		return ok(true)
	case o.out == nothing:
		return ok(last == 0 || o.from > 0 && last < o.from)
	case o.from == 0:
		return ok(last == o.seq)
	}
	return ok(last >= o.seq && c.first(o.from) == o.seq)
}
