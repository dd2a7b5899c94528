package consolidated

import (
	"slices"
	"strings"

	"decom/worker/scan"
)

// collector puts together what a file says in any order: which packs there are, what they
// are in, what was shipped.
type collector struct {
	check Check
	list  List

	index      map[packKey]int32  // pack -> row; -1 = refused
	containers map[string]int32   // by ID
	inside     map[packKey]int32  // pack -> container, before or without its row
	mentioned  []packKey          // of inside, in the order of the file
	cases      map[string]pending // trade items that may be containers
	tops       map[string][]int32 // shipped identifier -> deliveries
	shipping   bool               // the file says what was shipped
	deleted    map[packKey]bool
	words      map[string]string // batches, codes and dates, each once
	total      int32             // identifiers seen
}

type pending struct {
	row  scan.Fields
	n    int32
	line int
	full bool
}

func newCollector(check Check) *collector {
	return &collector{
		check: check, index: map[packKey]int32{}, containers: map[string]int32{}, inside: map[packKey]int32{},
		cases: map[string]pending{}, tops: map[string][]int32{}, deleted: map[packKey]bool{}, words: map[string]string{},
	}
}

var errTooMany = problem("le fichier liste plus de %d boîtes ; faites-le découper par l'expéditeur",
	"the file lists more than %d packs; have the sender split it", MaxRows)

// word returns s, every equal text once in memory.
func (c *collector) word(s string) string {
	if w, ok := c.words[s]; ok {
		return w
	}
	s = strings.Clone(s)
	c.words[s] = s
	return s
}

// add judges one row. full says that the expiry was a full date.
func (c *collector) add(f scan.Fields, n int32, line int, full bool) (row int32, err error) {
	if c.list.Declared() >= MaxRows {
		return -1, errTooMany
	}
	reason, field := damaged(&f)
	if reason == "" {
		reason, field = c.check(f)
	}
	if reason != "" {
		c.refuse(n, line, reason, field, valueOf(&f, field))
		if _, known := c.index[packKey{f.Code, f.Serial}]; !known {
			c.index[packKey{c.word(f.Code), strings.Clone(f.Serial)}] = -1 // told of; no second time as an orphan
		}
		return -1, nil
	}
	key := packKey{c.word(f.Code), strings.Clone(f.Serial)}
	if at, known := c.index[key]; known {
		c.again(at, key, f, n, line, full)
		return -1, nil
	}
	r := Row{N: n, Scheme: c.word(f.Scheme), Code: key.code, Serial: key.serial, Batch: c.word(f.Batch), Expiry: c.word(f.Expiry), Full: full, Parent: -1}
	row = int32(len(c.list.Rows))
	c.index[key] = row
	c.list.Rows = append(c.list.Rows, r)
	return row, nil
}

// again is a second row of one pack: the same one is refused, a contradiction takes the
// first one with it (domain.md section 5).
func (c *collector) again(at int32, key packKey, f scan.Fields, n int32, line int, full bool) {
	if at >= 0 {
		first := c.list.Rows[at]
		if first.Batch == f.Batch && first.Expiry == f.Expiry && first.Full == full {
			c.refuse(n, line, Twice, "", "")
			return
		}
		c.refuse(first.N, 0, Conflict, "", "")
		c.list.Rows[at].N = -first.N // taken away at the end
		c.index[key] = -1
	}
	c.refuse(n, line, Conflict, "", "")
}

func (c *collector) refuse(n int32, line int, reason Reason, field, value string) {
	c.list.Refused = append(c.list.Refused, Refusal{N: n, Line: line, Reason: reason, Field: field, Value: clip(value)})
}

func valueOf(f *scan.Fields, field string) string {
	switch strings.TrimPrefix(field, "pack.") {
	case "scheme":
		return f.Scheme
	case "code":
		return f.Code
	case "serial":
		return f.Serial
	case "batch":
		return f.Batch
	case "expiry":
		return f.Expiry
	}
	return ""
}

// container returns the index of a container, new or not.
func (c *collector) container(id string) int32 {
	if i, ok := c.containers[id]; ok {
		return i
	}
	i := int32(len(c.list.Containers))
	id = strings.Clone(id)
	c.containers[id] = i
	c.list.Containers = append(c.list.Containers, Container{ID: id, Parent: -1})
	return i
}

func (c *collector) delivery(ref string) int32 {
	if i := slices.Index(c.list.Deliveries, ref); i >= 0 {
		return int32(i)
	}
	c.list.Deliveries = append(c.list.Deliveries, strings.Clone(ref))
	return int32(len(c.list.Deliveries) - 1)
}

// put says that a pack or container is in that container.
func (c *collector) put(e epc, parent int32) {
	if !e.pack || e.id != "" {
		c.list.Containers[c.container(e.id)].Parent = parent
		return
	}
	key := packKey{e.code, e.serial}
	if _, known := c.inside[key]; !known {
		key = packKey{c.word(e.code), strings.Clone(e.serial)}
		c.mentioned = append(c.mentioned, key)
	}
	c.inside[key] = parent
}

// takeOut says that something was taken out of a container: it is opened from then on.
func (c *collector) takeOut(children []string, parent int32) {
	c.list.Containers[parent].Opened = true
	for _, text := range children {
		e := readEPC(text)
		if !e.ok {
			continue
		}
		if !e.pack || e.id != "" {
			if box := &c.list.Containers[c.container(e.id)]; box.Parent == parent {
				box.Parent = -1
			}
			continue
		}
		if key := (packKey{e.code, e.serial}); c.inside[key] == parent {
			c.put(e, -1)
		}
	}
}

// finish joins everything.
func (c *collector) finish() (*List, error) {
	for _, id := range slices.SortedFunc(mapKeys(c.cases), func(a, b string) int { return int(c.cases[a].n - c.cases[b].n) }) {
		if _, used := c.containers[id]; used {
			continue
		}
		// A case that nothing is in: somebody took it for a pack.
		p := c.cases[id]
		if _, err := c.add(p.row, p.n, p.line, p.full); err != nil {
			return nil, err
		}
	}
	if err := c.orphans(); err != nil {
		return nil, err
	}
	for i := range c.list.Rows {
		r := &c.list.Rows[i]
		if p, ok := c.inside[r.key()]; ok {
			r.Parent = p
		}
		if c.deleted[r.key()] && r.N > 0 {
			c.refuse(r.N, 0, Deleted, "", "")
			r.N = -r.N
		}
	}
	c.list.Rows = slices.DeleteFunc(c.list.Rows, func(r Row) bool { return r.N < 0 })
	if err := c.circle(); err != nil {
		return nil, err
	}
	for i := range c.list.Rows {
		c.ship(&c.list.Rows[i])
	}
	slices.SortStableFunc(c.list.Refused, func(a, b Refusal) int { return int(a.N) - int(b.N) })
	return &c.list, nil
}

func mapKeys(m map[string]pending) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// orphans are packs that are in a container and that nothing else tells of.
func (c *collector) orphans() error {
	for _, key := range c.mentioned {
		if _, known := c.index[key]; known {
			continue
		}
		if c.list.Declared() >= MaxRows {
			return errTooMany
		}
		c.total++
		c.refuse(c.total, 0, NoData, "", key.code)
	}
	return nil
}

// maxDepth is unit, bundle, case, layer, pallet, and some.
const maxDepth = 16

func (c *collector) circle() error {
	for i := range c.list.Containers {
		depth := 0
		for p := int32(i); p >= 0; p = c.list.Containers[p].Parent {
			if depth++; depth > maxDepth {
				return problem("le contenant %s se contient lui-même, ou est emboîté plus de %d fois", "container %s is inside itself, or nested more than %d deep", c.list.Containers[i].ID, maxDepth)
			}
		}
	}
	return nil
}

// ship finds the deliveries that a pack is in: it or something around it was shipped.
func (c *collector) ship(r *Row) {
	if !c.shipping {
		r.Shipped = true
		return
	}
	found := func(id string) {
		refs, ok := c.tops[id]
		r.Shipped = r.Shipped || ok
		for _, d := range refs {
			if !slices.Contains(r.Deliv, d) {
				r.Deliv = append(r.Deliv, d)
			}
		}
	}
	found("01" + r.Code + "21" + r.Serial)
	for p := r.Parent; p >= 0; p = c.list.Containers[p].Parent {
		found(c.list.Containers[p].ID)
	}
}
