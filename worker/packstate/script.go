package packstate

import (
	"context"
	_ "embed" // the scripts
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

//go:embed lua/prelude.lua
var luaPrelude string

//go:embed lua/view.lua
var luaView string

//go:embed lua/apply.lua
var luaApply string

//go:embed lua/claim.lua
var luaClaim string

//go:embed lua/sweep.lua
var luaSweep string

//go:embed lua/finish.lua
var luaFinish string

//go:embed lua/halt.lua
var luaHalt string

//go:embed lua/control.lua
var luaControl string

//go:embed lua/own.lua
var luaOwn string

//go:embed lua/take.lua
var luaTake string

//go:embed lua/peek.lua
var luaPeek string

//go:embed lua/fleet.lua
var luaFleet string

// scripts are run outside pipelines only: there a server that forgot them
// (restart, SCRIPT FLUSH, failover) gets the source again; in a pipeline it
// would not (protocol.md section 11).
type scripts struct {
	view, apply, claim, sweep, finish, halt, control, own, take, fleet, peek *redis.Script
}

func newScripts() scripts {
	s := func(src string) *redis.Script { return redis.NewScript(luaPrelude + src) }
	return scripts{
		view: s(luaView), apply: s(luaApply), claim: s(luaClaim), sweep: s(luaSweep), finish: s(luaFinish),
		halt: s(luaHalt), control: s(luaControl), own: s(luaOwn), take: s(luaTake), fleet: s(luaFleet), peek: s(luaPeek),
	}
}

// load puts every script on one server, so that a syntax error or a forbidden
// command shows at start and not with the first pack.
func (s scripts) load(ctx context.Context, c redis.Scripter) error {
	for _, sc := range []*redis.Script{s.view, s.apply, s.claim, s.sweep, s.finish, s.halt, s.control, s.own, s.take, s.fleet, s.peek} {
		if err := sc.Load(ctx, c).Err(); err != nil {
			return fmt.Errorf("load scripts: %w", err)
		}
	}
	return nil
}

// status runs a script that answers with one status word.
func (s *Store) status(ctx context.Context, sc *redis.Script, keys []string, args ...any) (Status, error) {
	word, err := sc.Run(ctx, s.rdb, keys, args...).Text()
	if err != nil {
		return 0, wrap(err)
	}
	return parseStatus(word)
}

// wrap marks what a caller may wait out: no answer, or a server not ready.
func wrap(err error) error {
	if err == nil {
		return nil
	}
	if _, answered := errors.AsType[redis.Error](err); answered && !notReady(err) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

func notReady(err error) bool {
	return redis.IsLoadingError(err) || redis.IsReadOnlyError(err) || redis.IsClusterDownError(err) ||
		redis.IsTryAgainError(err) || redis.IsMasterDownError(err) || redis.IsMaxClientsError(err)
}
