package packstate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"decom/worker/ledger"
	"decom/worker/scan"
)

// View reads packs as they are at the caller's belief, all in one step
// (protocol.md section 3, S2 and S7). States come with OK only; a pack that was
// never heard of is not among them. Halt of either kind: Halted.
func (s *Store) View(ctx context.Context, acc string, at ledger.Head, ks []scan.PackID) (Status, ledger.States, error) {
	st, states, err := s.view(ctx, acc, at, ks)
	if err != nil {
		return 0, nil, fmt.Errorf("view %s: %w", acc, err)
	}
	return st, states, nil
}

func (s *Store) view(ctx context.Context, acc string, at ledger.Head, ks []scan.PackID) (Status, ledger.States, error) {
	k, err := account(acc)
	belief, err2 := formatHead(at)
	if err := errors.Join(err, err2, checkPacks(len(ks), slices.Values(ks))); err != nil {
		return 0, nil, err
	}
	names, args := make([]string, 2, 2+len(ks)), make([]string, 1, 1+len(ks))
	names[0], names[1], args[0] = k.halt(), k.head(), belief
	names = k.addBuckets(names, ks)
	for _, id := range ks {
		args = append(args, string(id[bucketLen:]))
	}
	out, err := s.run(ctx, s.scripts.view, names, args).StringSlice()
	if err != nil {
		return 0, nil, wrap(err)
	}
	if len(out) == 0 {
		return 0, nil, errShort
	}
	st, err := parseStatus(out[0])
	if err != nil || st != OK {
		return st, nil, err
	}
	if len(out) != 2 {
		return 0, nil, errShort
	}
	states, err := decodeAll(ks, out[1])
	if err != nil {
		return 0, nil, err
	}
	return OK, states, nil
}

// Apply projects a record, or several that follow each other: prev is the head
// before the first, next that after the last (protocol.md section 2.3). Packs,
// lists and head change together or not at all. Only OK and Same permit
// sending. A lost answer is an error; applying the same again is harmless.
func (s *Store) Apply(ctx context.Context, acc string, prev, next ledger.Head, states ledger.States, idx ledger.Index) (Status, error) {
	st, err := s.apply(ctx, acc, prev, next, states, idx)
	if err != nil {
		return 0, fmt.Errorf("apply %s: record %d: %w", acc, next.Seq, err)
	}
	return st, nil
}

func (s *Store) apply(ctx context.Context, acc string, prev, next ledger.Head, states ledger.States, idx ledger.Index) (Status, error) {
	k, err := account(acc)
	from, err1 := formatHead(prev)
	to, err2 := formatHead(next)
	if err := errors.Join(err, err1, err2, checkPacks(len(states), maps.Keys(states))); err != nil {
		return 0, err
	}
	if next.Seq <= prev.Seq {
		return 0, fmt.Errorf("does not follow record %d", prev.Seq)
	}
	names := make([]string, 5, 5+len(states))
	names[0], names[1], names[2], names[3], names[4] = k.halt(), k.head(), k.open(), k.due(), k.parked()
	ks := slices.AppendSeq(make([]scan.PackID, 0, len(states)), maps.Keys(states))
	names = k.addBuckets(names, ks)
	args := make([]string, 0, 6+2*(len(states)+len(idx.Open)+len(idx.Due)+len(idx.Parked)))
	args = append(args, from, to, haltWord(idx.Halt), strconv.Itoa(len(idx.Open)), strconv.Itoa(len(idx.Due)), strconv.Itoa(len(idx.Parked)))
	if args, err = addValues(args, ks, states); err != nil {
		return 0, err
	}
	for seq, change := range idx.Open {
		args = append(args, strconv.FormatUint(seq, 10), strconv.Itoa(change))
	}
	for id, ms := range idx.Due {
		args = append(args, string(id), strconv.FormatInt(ms, 10))
	}
	for id, on := range idx.Parked {
		args = append(args, string(id), flag(on))
	}
	word, err := s.run(ctx, s.scripts.apply, names, args).Text()
	if err != nil {
		return 0, wrap(err)
	}
	return parseStatus(word)
}

func flag(on bool) string {
	if on {
		return "1"
	}
	return "0"
}

// haltWord says what a record does to the ledger's halt.
func haltWord(f *ledger.Fact) string {
	switch {
	case f == nil:
		return ""
	case f.Kind == ledger.Resume:
		return "-"
	case f.Why == "":
		return "+halted on the ledger"
	}
	return "+" + f.Why
}

// Head returns the head of the last projected record; false when there is none,
// so that the account must be projected from its start.
func (s *Store) Head(ctx context.Context, acc string) (ledger.Head, bool, error) {
	k, err := account(acc)
	if err != nil {
		return ledger.Head{}, false, fmt.Errorf("head: %w", err)
	}
	text, err := s.rdb.Get(ctx, k.head()).Result()
	if errors.Is(err, redis.Nil) {
		return ledger.Head{}, false, nil
	}
	if err != nil {
		return ledger.Head{}, false, fmt.Errorf("head %s: %w", acc, wrap(err))
	}
	h, err := parseHead(text)
	if err != nil {
		return ledger.Head{}, false, fmt.Errorf("head %s: %w", acc, err)
	}
	return h, true, nil
}

// formatHead gives "SEQ HASH"; the head before the first record is "0 ".
func formatHead(h ledger.Head) (string, error) {
	if (h.Seq == 0) != (h.Hash == "") || h.Hash != "" && !isHash(h.Hash) {
		return "", fmt.Errorf("head %d %q: must be a sequence and a SHA-256 in hex, or neither", h.Seq, h.Hash)
	}
	return strconv.FormatUint(h.Seq, 10) + " " + h.Hash, nil
}

func parseHead(text string) (ledger.Head, error) {
	seq, hash, _ := strings.Cut(text, " ")
	n, err := strconv.ParseUint(seq, 10, 64)
	h := ledger.Head{Seq: n, Hash: hash}
	if again, err2 := formatHead(h); err != nil || err2 != nil || again != text {
		return ledger.Head{}, fmt.Errorf("head %q is not one of ours", text)
	}
	return h, nil
}

func isHash(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
