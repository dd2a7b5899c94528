package packstate

import (
	"context"

	"decom/worker/ledger"
)

// Doors for the tests outside.

// FlushAll loses everything, behind the methods' back.
func (s *Store) FlushAll(ctx context.Context) error { return s.rdb.FlushAll(ctx).Err() }

// SetRaw writes a pack's value as another program might.
func (s *Store) SetRaw(ctx context.Context, acc string, bucket, field, value string) error {
	return s.rdb.HSet(ctx, "decom:{"+acc+"}:p:"+bucket, field, value).Err()
}

// Del removes one key of an account.
func (s *Store) Del(ctx context.Context, acc, key string) error {
	return s.rdb.Del(ctx, "decom:{"+acc+"}:"+key).Err()
}

// Mark puts up the mark of a process that empties the account, as of age ms ago.
func (s *Store) Mark(ctx context.Context, acc, value string) error {
	return s.rdb.Set(ctx, "decom:{"+acc+"}:drop", value, 0).Err()
}

// Encode and Decode are the codec.
func Encode(s *ledger.State) ([]byte, error) { return encode(nil, s) }
func Decode(v string) (ledger.State, error)  { return decode(v) }

// Judge is the verdict on a server at start.
func Judge(sv Server) ([]string, error) { return sv.judge() }

// SweepStep is one step of a process that emptied the account under that token.
func (s *Store) SweepStep(ctx context.Context, acc, token string, bucket string) (Status, error) {
	k, err := account(acc)
	if err != nil {
		return 0, err
	}
	return s.status(ctx, s.scripts.sweep, []string{k.drop(), k.packs() + bucket}, token)
}
