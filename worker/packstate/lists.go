package packstate

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"decom/worker/scan"
)

// Counts are numbers of packs.
type Counts struct {
	Open   int // an attempt may be on its way
	Due    int // accepted, to be sent
	Parked int // waiting for a person
}

// OpenSeqs returns the records that still have open packs: opening sequence ->
// packs left. The resolver starts from it.
func (s *Store) OpenSeqs(ctx context.Context, acc string) (map[uint64]int, error) {
	k, err := account(acc)
	if err != nil {
		return nil, fmt.Errorf("open attempts: %w", err)
	}
	fields, err := s.rdb.HGetAll(ctx, k.open()).Result()
	if err != nil {
		return nil, fmt.Errorf("open attempts of %s: %w", acc, wrap(err))
	}
	seqs := make(map[uint64]int, len(fields))
	for f, v := range fields {
		seq, err1 := strconv.ParseUint(f, 10, 64)
		n, err2 := strconv.Atoi(v)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("open attempts of %s: %w", acc, err)
		}
		seqs[seq] = n
	}
	return seqs, nil
}

// Due returns up to max packs whose time has come at now (milliseconds since
// 1970), the longest waiting first.
func (s *Store) Due(ctx context.Context, acc string, now int64, max int) ([]scan.PackID, error) {
	k, err := account(acc)
	if err != nil {
		return nil, fmt.Errorf("due packs: %w", err)
	}
	if max <= 0 {
		return nil, nil // Redis reads a negative count as "all", 0 as none
	}
	names, err := s.rdb.ZRangeArgs(ctx, redis.ZRangeArgs{
		Key: k.due(), Start: "-inf", Stop: strconv.FormatInt(now, 10), ByScore: true, Count: int64(max),
	}).Result()
	if err != nil {
		return nil, fmt.Errorf("due packs of %s: %w", acc, wrap(err))
	}
	return packIDs(names), nil
}

// Parked returns up to max parked packs in the order of their names, those
// after the given one ("" = from the start). A pack parked all the while is
// listed exactly once when a caller goes on after the last of each answer.
func (s *Store) Parked(ctx context.Context, acc string, after scan.PackID, max int) ([]scan.PackID, error) {
	k, err := account(acc)
	if err != nil {
		return nil, fmt.Errorf("parked packs: %w", err)
	}
	if max <= 0 {
		return nil, nil
	}
	start := "-"
	if after != "" {
		start = "(" + string(after)
	}
	names, err := s.rdb.ZRangeArgs(ctx, redis.ZRangeArgs{
		Key: k.parked(), Start: start, Stop: "+", ByLex: true, Count: int64(max),
	}).Result()
	if err != nil {
		return nil, fmt.Errorf("parked packs of %s: %w", acc, wrap(err))
	}
	return packIDs(names), nil
}

func packIDs(names []string) []scan.PackID {
	ks := make([]scan.PackID, len(names))
	for i, n := range names {
		ks[i] = scan.PackID(n)
	}
	return ks
}

// Counts returns how many packs are open, due and parked, for screens.
func (s *Store) Counts(ctx context.Context, acc string) (Counts, error) {
	k, err := account(acc)
	if err != nil {
		return Counts{}, fmt.Errorf("counts: %w", err)
	}
	var c Counts
	seqs, err := s.OpenSeqs(ctx, acc)
	if err != nil {
		return Counts{}, err
	}
	for _, n := range seqs {
		c.Open += n
	}
	due, err1 := s.rdb.ZCard(ctx, k.due()).Result()
	parked, err2 := s.rdb.ZCard(ctx, k.parked()).Result()
	if err := errors.Join(err1, err2); err != nil {
		return Counts{}, fmt.Errorf("counts of %s: %w", acc, wrap(err))
	}
	c.Due, c.Parked = int(due), int(parked)
	return c, nil
}

// Halt stops the account in every process until [Store.Unhalt]: View and Apply
// answer Halted. The reason is one line, for people; several are collected.
func (s *Store) Halt(ctx context.Context, acc, why string) error {
	if _, err := s.halt(ctx, acc, "set", line(why)); err != nil {
		return fmt.Errorf("halt %s: %w", acc, err)
	}
	return nil
}

// Unhalt takes a process's halt away if its reasons are still exactly why, as
// [Store.Halted] gave them: a person resumes what they have read. It returns
// what still stands, empty when nothing does. The caller must be a person's tool.
func (s *Store) Unhalt(ctx context.Context, acc, why string) (left string, err error) {
	if left, err = s.halt(ctx, acc, "clear", why); err != nil {
		return "", fmt.Errorf("unhalt %s: %w", acc, err)
	}
	return left, nil
}

func (s *Store) halt(ctx context.Context, acc, mode, why string) (string, error) {
	k, err := account(acc)
	if err != nil {
		return "", err
	}
	left, err := s.scripts.halt.Run(ctx, s.rdb, []string{k.halt()}, mode, why).Text()
	return left, wrap(err)
}

// Halted says whether the account is halted, and why: the reasons of processes
// first, which are what [Store.Unhalt] wants; if there are none, the ledger's,
// which goes with its resume fact.
func (s *Store) Halted(ctx context.Context, acc string) (why string, halted bool, err error) {
	k, err := account(acc)
	if err != nil {
		return "", false, fmt.Errorf("halted: %w", err)
	}
	m, err := s.rdb.HGetAll(ctx, k.halt()).Result()
	if err != nil {
		return "", false, fmt.Errorf("halted %s: %w", acc, wrap(err))
	}
	if why, ok := m["process"]; ok {
		return why, true, nil
	}
	why, halted = m["ledger"]
	return why, halted, nil
}

// line makes a reason fit for one line of at most 500 bytes; it is never empty.
func line(why string) string {
	b := []byte(strings.ToValidUTF8(why[:min(len(why), 500)], ""))
	for i, c := range b {
		if c < 0x20 {
			b[i] = ' '
		}
	}
	if len(b) == 0 {
		return "no reason given"
	}
	return string(b)
}
