package packstate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"decom/worker/scan"
)

// The keys that belong to no account.
const (
	ownPrefix = "decom:own:" // + bucket: hash, pack -> account
	fleetKey  = "decom:fleet"
)

func ownPlace(id scan.PackID) (bucket, field string) {
	return ownPrefix + string(id[:bucketLen]), string(id[bucketLen:])
}

// Own notes that the account is about to open these packs and returns who holds
// each: the own name where it was free or own already (protocol.md section 6). It is
// advisory; a Redis that lost it grants again. Only with several accounts.
func (s *Store) Own(ctx context.Context, acc string, ks []scan.PackID) (map[scan.PackID]string, error) {
	_, err := account(acc)
	if err = errors.Join(err, checkPacks(len(ks), slices.Values(ks))); err != nil {
		return nil, fmt.Errorf("own: %w", err)
	}
	own := s.ownScript
	if _, cluster := s.rdb.(*redis.ClusterClient); cluster {
		own = s.ownPipe
	}
	holders, err := own(ctx, acc, ks)
	if err != nil {
		return nil, fmt.Errorf("own for %s: %w", acc, wrap(err))
	}
	m := make(map[scan.PackID]string, len(ks))
	for i, k := range ks {
		m[k] = holders[i]
	}
	return m, nil
}

func (s *Store) ownScript(ctx context.Context, acc string, ks []scan.PackID) ([]string, error) {
	names, args := make([]string, len(ks)), make([]string, 1+len(ks))
	args[0] = acc
	for i, k := range ks {
		names[i], args[i+1] = ownPlace(k)
	}
	if len(names) == 0 {
		return nil, nil
	}
	return s.run(ctx, s.scripts.own, names, args).StringSlice()
}

// ownPipe is for a cluster, where the buckets live on many nodes: plain commands,
// each pair in order on its node, harmless when repeated.
func (s *Store) ownPipe(ctx context.Context, acc string, ks []scan.PackID) ([]string, error) {
	pipe, got := s.rdb.Pipeline(), make([]*redis.StringCmd, len(ks))
	for i, k := range ks {
		bucket, field := ownPlace(k)
		pipe.HSetNX(ctx, bucket, field, acc)
		got[i] = pipe.HGet(ctx, bucket, field)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	holders := make([]string, len(ks))
	for i := range got {
		holders[i] = got[i].Val()
	}
	return holders, nil
}

// Take moves a pack from one account to another, if from ("" = nobody) still
// holds it, and returns who holds it then: to = taken. The caller has seen in
// from's projection that the pack is free (protocol.md section 6).
func (s *Store) Take(ctx context.Context, k scan.PackID, from, to string) (holder string, err error) {
	_, err = account(to)
	if err = errors.Join(err, checkPacks(1, slices.Values([]scan.PackID{k}))); err != nil {
		return "", fmt.Errorf("take: %w", err)
	}
	bucket, field := ownPlace(k)
	holder, err = s.scripts.take.Run(ctx, s.rdb, []string{bucket}, field, from, to).Text()
	if err != nil {
		return "", fmt.Errorf("take %s: %w", k, wrap(err))
	}
	return holder, nil
}

// Heartbeat says that worker is alive for the next ttl and returns all who are,
// sorted; ttl 0 says that it leaves. The server's clock counts. Advisory: for
// ranks and screens, never for permission to send.
func (s *Store) Heartbeat(ctx context.Context, worker string, ttl time.Duration) (alive []string, err error) {
	if worker == "" || ttl < 0 {
		return nil, fmt.Errorf("heartbeat of %q for %v: needs a name and a time", worker, ttl)
	}
	ms := ttl.Milliseconds()
	if ttl > 0 {
		ms = max(ms, 1)
	}
	alive, err = s.scripts.fleet.Run(ctx, s.rdb, []string{fleetKey}, worker, ms).StringSlice()
	if err != nil {
		return nil, fmt.Errorf("heartbeat: %w", wrap(err))
	}
	slices.Sort(alive)
	return alive, nil
}
