package packstate

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"decom/worker/ledger"
	"decom/worker/scan"
)

// ErrOvertaken means that another process began to empty the same account; it
// goes on where this one stopped. Read the head again.
var ErrOvertaken = errors.New("another process is emptying the account")

// dropPatience is how long the mark of a process that empties an account is
// respected without a sign of life; each step of at most scanStep keys gives one.
const dropPatience = 5 * time.Second

// scanStep is how many keys one step looks at or deletes.
const scanStep = 500

// Begin makes an account's projection empty and writes the head (0, ""): the
// only way out of "no head". Only synchronise may call it, having read that the
// ledger is empty or about to project it from its first record [B8f]. Packs
// left over from a lost head go first, or the ledger would be folded onto them.
//
// OK: begun. Same: it stands at (0, "") already. Ahead: somebody's projection
// is on its way; read the head. Stale: somebody else is emptying the account;
// come back in a moment.
func (s *Store) Begin(ctx context.Context, acc string) (Status, error) {
	st, err := s.empty(ctx, acc, "begin")
	if errors.Is(err, ErrOvertaken) {
		return Stale, nil
	}
	if err != nil {
		return 0, fmt.Errorf("begin %s: %w", acc, err)
	}
	return st, nil
}

// Drop removes an account's projection, for a rebuild. From its first step on
// nothing can be viewed or applied until somebody calls Begin. A process's halt
// stays: only a person takes it away. [ErrOvertaken]: another goes on with it.
func (s *Store) Drop(ctx context.Context, acc string) error {
	st, err := s.empty(ctx, acc, "drop")
	if err == nil && st != OK {
		err = ErrOvertaken
	}
	if err != nil {
		return fmt.Errorf("drop %s: %w", acc, err)
	}
	return nil
}

// empty claims the account, deletes its buckets step by step, and lets go.
// Every step checks the claim, so that one who slept cannot delete what was
// projected meanwhile.
func (s *Store) empty(ctx context.Context, acc, mode string) (Status, error) {
	k, err := account(acc)
	if err != nil {
		return 0, err
	}
	token := rand.Text()
	st, err := s.status(ctx, s.scripts.claim,
		[]string{k.head(), k.drop(), k.open(), k.due(), k.parked(), k.halt(), k.control()}, token, mode, dropPatience.Milliseconds())
	if err != nil || st != OK {
		return st, err
	}
	err = s.eachBucket(ctx, k, func(ctx context.Context, _ *redis.Client, buckets []string) error {
		st, err := s.status(ctx, s.scripts.sweep, append([]string{k.drop()}, buckets...), token)
		if err == nil && st != OK {
			err = ErrOvertaken
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return s.status(ctx, s.scripts.finish, []string{k.head(), k.drop()}, token, mode)
}

// eachBucket calls fn with the account's bucket keys, some at a time; a key may
// come twice. SCAN finds every key that is there from first to last.
func (s *Store) eachBucket(ctx context.Context, k keys, fn func(context.Context, *redis.Client, []string) error) error {
	return s.eachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		var cursor uint64
		for {
			found, next, err := c.Scan(ctx, cursor, k.packs()+"*", scanStep).Result()
			if err != nil {
				return wrap(err)
			}
			for len(found) != 0 {
				n := min(len(found), scanStep)
				if err := fn(ctx, c, found[:n]); err != nil {
					return err
				}
				found = found[n:]
			}
			if cursor = next; cursor == 0 {
				return nil
			}
		}
	})
}

// eachMaster calls fn for every server that holds keys: one, or those of a cluster.
func (s *Store) eachMaster(ctx context.Context, fn func(context.Context, *redis.Client) error) error {
	switch c := s.rdb.(type) {
	case *redis.ClusterClient:
		return c.ForEachMaster(ctx, fn)
	case *redis.Client:
		return fn(ctx, c)
	}
	return fmt.Errorf("client of kind %T", s.rdb)
}

// Each calls fn with every pack of the account, in no order; a pack may come
// twice, and one that changes meanwhile comes old or new. It is for people's
// tools (resume after ledger loss, protocol.md section 9), never for sending.
func (s *Store) Each(ctx context.Context, acc string, fn func(scan.PackID, ledger.State) error) error {
	k, err := account(acc)
	if err != nil {
		return fmt.Errorf("each: %w", err)
	}
	err = s.eachBucket(ctx, k, func(ctx context.Context, c *redis.Client, buckets []string) error {
		for _, bucket := range buckets {
			fields, err := c.HGetAll(ctx, bucket).Result()
			if err != nil {
				return wrap(err)
			}
			head := strings.TrimPrefix(bucket, k.packs())
			for field, v := range fields {
				id := scan.PackID(head + field)
				state, err := decode(v)
				if err != nil {
					return fmt.Errorf("pack %s: %w", id, err)
				}
				if err := fn(id, state); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("each pack of %s: %w", acc, err)
	}
	return nil
}
