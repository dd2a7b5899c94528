package packstate

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"decom/worker/ledger"
)

// SaveControls stores what people set for an account's pace, as the records up to
// c.Seq say it. Whoever projects records calls it before the Apply that moves the head
// over them: then a head never stands beyond a control that nobody stored, and a reader
// begins at the head. It is safe to repeat; the newest record counts.
func (s *Store) SaveControls(ctx context.Context, acc string, c ledger.Controls) error {
	k, err := account(acc)
	if err != nil {
		return fmt.Errorf("save controls: %w", err)
	}
	value, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("save controls of %s: %w", acc, err)
	}
	// As text: a Lua number has 53 bits, a sequence that needs more is far away.
	err = s.scripts.control.Run(ctx, s.rdb, []string{k.control()}, strconv.FormatUint(c.Seq, 10), string(value)).Err()
	if err != nil {
		return fmt.Errorf("save controls of %s: %w", acc, wrap(err))
	}
	return nil
}

// Controls returns what [Store.SaveControls] stored last; the zero value when there is
// nothing, or Redis forgot it together with the head.
func (s *Store) Controls(ctx context.Context, acc string) (c ledger.Controls, err error) {
	k, err := account(acc)
	if err != nil {
		return c, fmt.Errorf("controls: %w", err)
	}
	m, err := s.rdb.HGetAll(ctx, k.control()).Result()
	if err != nil {
		return c, fmt.Errorf("controls of %s: %w", acc, wrap(err))
	}
	value, ok := m["value"]
	if !ok {
		return c, nil
	}
	if err := json.Unmarshal([]byte(value), &c); err != nil {
		return ledger.Controls{}, fmt.Errorf("controls of %s: %w: %w", acc, ErrValue, err)
	}
	return c, nil
}
