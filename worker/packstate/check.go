package packstate

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Info describes the servers behind the store, for doctor. Fields that a server
// does not tell are empty.
type Info struct {
	Embedded bool
	Servers  []Server
}

// Server is one Redis server.
type Server struct {
	Addr       string
	Version    string // as in redis_version
	Role       string // master or slave
	Policy     string // maxmemory-policy
	AOF        bool   // every write goes to a file
	MaxMemory  int64  // bytes; 0 = no limit, or not told
	UsedMemory int64  // bytes
}

// minMajor is the oldest Redis whose scripts behave as ours need (dependencies.md).
const minMajor = 7

// Info asks every server about itself.
func (s *Store) Info(ctx context.Context) (Info, error) {
	info := Info{Embedded: s.Embedded()}
	if s.Embedded() {
		info.Servers = []Server{{Addr: "this process", Version: "miniredis", Role: "master", Policy: "noeviction"}}
		return info, nil
	}
	var mu sync.Mutex // a cluster is asked in parallel
	err := s.eachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		sv, err := ask(ctx, c)
		mu.Lock()
		defer mu.Unlock()
		info.Servers = append(info.Servers, sv)
		return err
	})
	if err != nil {
		return Info{}, fmt.Errorf("redis info: %w", err)
	}
	return info, nil
}

// check is what Open demands.
func (s *Store) check(ctx context.Context) error {
	if err := refused(s.rdb.Ping(ctx).Err()); err != nil {
		return err
	}
	info, err := s.Info(ctx)
	if err != nil {
		return err
	}
	for _, sv := range info.Servers {
		if s.Embedded() {
			break
		}
		warn, err := sv.judge()
		if err != nil {
			return err
		}
		s.warnings = append(s.warnings, warn...)
	}
	return s.eachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		return refused(s.scripts.load(ctx, c))
	})
}

// refused tells a server that does not want us from one that is not there.
func refused(err error) error {
	if redis.IsAuthError(err) || redis.IsPermissionError(err) {
		return fmt.Errorf("%w: our user is refused: %w", ErrUnsuitable, err)
	}
	return wrap(err)
}

// judge says whether a server may hold pack states.
func (sv Server) judge() (warnings []string, err error) {
	major, _, _ := strings.Cut(sv.Version, ".")
	n, convErr := strconv.Atoi(major)
	switch {
	case convErr != nil:
		warnings = append(warnings, fmt.Sprintf("redis %s does not tell its version; 7.0 or newer is needed", sv.Addr))
	case n < minMajor:
		return nil, fmt.Errorf("%w: %s runs version %s, 7.0 or newer is needed", ErrUnsuitable, sv.Addr, sv.Version)
	}
	if sv.Role == "slave" {
		return nil, fmt.Errorf("%w: %s is a replica; give the master, or the sentinels and the master's name", ErrUnsuitable, sv.Addr)
	}
	switch sv.Policy {
	case "noeviction":
	case "":
		warnings = append(warnings, fmt.Sprintf("redis %s does not tell its maxmemory-policy; it must be noeviction", sv.Addr))
	default:
		return nil, fmt.Errorf("%w: %s has maxmemory-policy %s and may throw pack states away; set it to noeviction",
			ErrUnsuitable, sv.Addr, sv.Policy)
	}
	if !sv.AOF {
		warnings = append(warnings, fmt.Sprintf(
			"redis %s writes no append-only file: after its restart accounts are rebuilt from the ledger, and until then it is no second witness", sv.Addr))
	}
	return warnings, nil
}

// ask reads what INFO tells, and the policy from CONFIG where INFO is silent;
// managed servers forbid CONFIG.
func ask(ctx context.Context, c *redis.Client) (Server, error) {
	sv := Server{Addr: c.Options().Addr}
	text, err := c.Info(ctx).Result()
	if err != nil {
		return sv, refused(err)
	}
	m := map[string]string{}
	for l := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimSpace(l), ":"); ok {
			m[k] = v
		}
	}
	sv.Version, sv.Role, sv.Policy, sv.AOF = m["redis_version"], m["role"], m["maxmemory_policy"], m["aof_enabled"] == "1"
	sv.MaxMemory, _ = strconv.ParseInt(m["maxmemory"], 10, 64) // 0 when not told
	sv.UsedMemory, _ = strconv.ParseInt(m["used_memory"], 10, 64)
	if sv.Policy == "" {
		if got, err := c.ConfigGet(ctx, "maxmemory-policy").Result(); err == nil {
			sv.Policy = got["maxmemory-policy"]
		}
	}
	return sv, nil
}
