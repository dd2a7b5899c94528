package packstate

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"decom/worker/ledger"
	"decom/worker/scan"
)

// run is [redis.Script.Run] for calls that name many packs: it hands the texts over by
// reference, where go-redis would box each of them.
func (s *Store) run(ctx context.Context, sc *redis.Script, names, args []string) *redis.Cmd {
	all := make([]any, 0, 3+len(names)+len(args))
	all = append(all, "evalsha", sc.Hash(), strconv.Itoa(len(names)))
	for i := range names {
		if i == 0 {
			all = append(all, names[0]) // a cluster finds the node by it
			continue
		}
		all = append(all, &names[i])
	}
	for i := range args {
		all = append(all, &args[i])
	}
	cmd := redis.NewCmd(ctx, all...)
	if len(names) > 0 {
		cmd.SetFirstKeyPos(3)
	}
	err := s.rdb.Process(ctx, cmd)
	if !redis.HasErrorPrefix(err, "NOSCRIPT") {
		return cmd
	}
	boxed := make([]any, len(args))
	for i := range args {
		boxed[i] = args[i]
	}
	return sc.Eval(ctx, s.rdb, names, boxed...)
}

// addBuckets appends the bucket of each pack to names; all are parts of one text.
func (k keys) addBuckets(names []string, ks []scan.PackID) []string {
	prefix := k.packs()
	size := len(prefix) + bucketLen
	buf := make([]byte, 0, len(ks)*size)
	for _, id := range ks {
		buf = append(append(buf, prefix...), id[:bucketLen]...)
	}
	for text := string(buf); text != ""; text = text[size:] {
		names = append(names, text[:size])
	}
	return names
}

// addValues appends field and value of each pack to args; all values are parts of one text.
func addValues(args []string, ks []scan.PackID, states ledger.States) ([]string, error) {
	buf, ends := make([]byte, 0, 32*len(ks)), make([]int, len(ks))
	for i, id := range ks {
		state := states[id]
		var err error
		if buf, err = encode(buf, &state); err != nil {
			return nil, fmt.Errorf("pack %s: %w", id, err)
		}
		ends[i] = len(buf)
	}
	text, from := string(buf), 0
	for i, id := range ks {
		args = append(args, string(id[bucketLen:]), text[from:ends[i]])
		from = ends[i]
	}
	return args, nil
}

// errShort says that a script answered with fewer or more values than packs were named.
var errShort = errors.New("the values do not fit the packs")

// decodeAll reads what the scripts' function `values` wrote: the values of ks.
func decodeAll(ks []scan.PackID, text string) (ledger.States, error) {
	states := make(ledger.States, len(ks))
	for _, k := range ks {
		if text == "" || len(text) <= int(text[0]) {
			return nil, errShort
		}
		n := int(text[0])
		value := text[1 : 1+n]
		text = text[1+n:]
		if n == 0 {
			continue
		}
		state, err := decode(value)
		if err != nil {
			return nil, fmt.Errorf("pack %s: %w", k, err)
		}
		states[k] = state
	}
	if text != "" {
		return nil, errShort
	}
	return states, nil
}
