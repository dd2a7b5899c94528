package packstate_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/packstate/packstatetest"
	"decom/worker/scan"
)

const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// randomID is a pack name in one of the first buckets (262,144 = all of them).
func randomID(r *rand.Rand, buckets int) scan.PackID {
	b, n := make([]byte, 16), r.IntN(buckets)
	b[0], b[1], b[2] = base64url[n>>12], base64url[n>>6&63], base64url[n&63]
	for i := 3; i < 16; i++ {
		b[i] = base64url[r.IntN(64)]
	}
	return scan.PackID(b)
}

// settledAs is a settled pack of record seq with everything random that is so
// in practice.
func settledAs(r *rand.Rand, seq uint64) ledger.State {
	ms := 1790000000000 + int64(seq)*300 + r.Int64N(1000)
	key := scan.Key{MS: ms, Device: r.Uint32(), ID: r.Uint32N(1 << 24)}
	return ledger.State{
		Phase: ledger.Inactive, Op: scan.Supply, Timed: true, Calls: 1, Print: r.Uint32(), At: ms/1000 + r.Int64N(60),
		Opening: seq, Changed: seq + 1 + r.Uint64N(3), Base: seq, Last: key, Seen: [4]uint32{key.ID},
	}
}

// BenchmarkPackMemory reports Redis's bytes a settled pack. Memory depends on how
// full a bucket is, so it fills a part of the buckets as full as they are when the
// account has the number of packs of the name.
func BenchmarkPackMemory(b *testing.B) {
	const all = 1 << 18
	for _, r := range []struct{ millions, buckets int }{{1, all}, {10, all / 10}, {30, all / 30}, {60, all / 60}, {100, all / 100}} {
		b.Run(fmt.Sprintf("packs=%dM", r.millions), func(b *testing.B) {
			server := packstatetest.StartRedis(b, packstatetest.RedisOptions{})
			s := open(b, packstate.Config{URL: server.URL()})
			if _, err := s.Begin(b.Context(), acc); err != nil {
				b.Fatal(err)
			}
			used := func() int64 {
				info, err := s.Info(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				return info.Servers[0].UsedMemory
			}
			rnd, before, seq := rand.New(rand.NewPCG(1, 2)), used(), uint64(0)
			packs := r.millions * 1e6 * r.buckets / all
			for done := 0; done < packs; done += packstate.MaxPacks {
				states := ledger.States{}
				for range packstate.MaxPacks {
					states[randomID(rnd, r.buckets)] = settledAs(rnd, seq+1000000)
				}
				if st, err := s.Apply(b.Context(), acc, headAt(seq, ""), headAt(seq+1, ""), states, ledger.Index{}); st != packstate.OK {
					b.Fatal(st, err)
				}
				seq++
			}
			perPack := float64(used()-before) / float64(packs)
			for b.Loop() { // the work is above, once; Loop forgets what was reported before
			}
			b.ReportMetric(perPack, "B/pack")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkViewApply500 is what the account loop asks of the store for 500 packs:
// view, apply of the opens, apply of the results.
func BenchmarkViewApply500(b *testing.B) {
	run := func(b *testing.B, s *packstate.Store, millions int) {
		if _, err := s.Begin(b.Context(), acc); err != nil {
			b.Fatal(err)
		}
		const n = 500
		rnd, seq := rand.New(rand.NewPCG(1, uint64(millions))), uint64(0)
		apply := func(states ledger.States, idx ledger.Index) {
			st, err := s.Apply(b.Context(), acc, headAt(seq, ""), headAt(seq+1, ""), states, idx)
			if st != packstate.OK {
				b.Fatal(st, err)
			}
			seq++
		}
		for b.Loop() {
			opened, settled := ledger.States{}, ledger.States{}
			for range n {
				k := randomID(rnd, 1<<18)
				settled[k] = settledAs(rnd, seq+1)
				st := settled[k]
				st.Phase, st.Base, st.At, st.Changed = ledger.Opened, 0, 0, st.Opening
				opened[k] = st
			}
			if st, _, err := s.View(b.Context(), acc, headAt(seq, ""), slices.Collect(maps.Keys(opened))); st != packstate.OK {
				b.Fatal(st, err)
			}
			open := seq + 1
			apply(opened, ledger.Index{Open: map[uint64]int{open: n}})
			apply(settled, ledger.Index{Open: map[uint64]int{open: -n}})
		}
		b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "packs/s")
	}
	b.Run("redis", func(b *testing.B) {
		run(b, open(b, packstate.Config{URL: packstatetest.Redis(b)}), 1)
	})
	b.Run("redis-aof-always", func(b *testing.B) {
		server := packstatetest.StartRedis(b, packstatetest.RedisOptions{AOF: true})
		run(b, open(b, packstate.Config{URL: server.URL()}), 1)
	})
	b.Run("embedded", func(b *testing.B) {
		run(b, open(b, packstate.Config{Dir: b.TempDir()}), 1)
	})
}
