package ledger

import (
	"decom/worker/rawjson"
	"decom/worker/scan"
)

// readRecord reads the usual record: what appendRecord writes. false: ask encoding/json,
// which also knows what a later version added. All texts of the record share
// one copy of the payload.
func readRecord(payload []byte) (*Record, bool) {
	d := decoder{rawjson.NewReader(string(payload))}
	r := &Record{}
	d.object(func(seen *rawjson.Names, name string) {
		switch name {
		case "v":
			d.Once(seen, 0)
			r.V = d.int()
		case "account":
			d.Once(seen, 1)
			r.Account = d.Str()
		case "prev_seq":
			d.Once(seen, 2)
			r.PrevSeq = d.Uint()
		case "prev":
			d.Once(seen, 3)
			r.Prev = d.Str()
		case "by":
			d.Once(seen, 4)
			r.By = d.Str()
		case "at":
			d.Once(seen, 5)
			r.At = d.Str()
		case "note":
			d.Once(seen, 6)
			r.Note = array(&d, d.note)
		case "open":
			d.Once(seen, 7)
			r.Open = array(&d, d.open)
		case "fact":
			d.Once(seen, 8)
			r.Fact = array(&d, d.fact)
		default:
			d.Spoil()
		}
	})
	return r, d.End()
}

type decoder struct{ rawjson.Reader }

func (d *decoder) int() int { return int(d.Int()) }

// object reads an object; member reads the value of one member, or spoils the reader.
func (d *decoder) object(member func(seen *rawjson.Names, name string)) {
	var seen rawjson.Names
	d.Open('{')
	for n := 0; d.More('}', n); n++ {
		member(&seen, d.Name())
	}
}

// array reads an array of objects. An empty one is for encoding/json: nobody writes it.
func array[T any](d *decoder, read func(*T)) []T {
	var list []T
	d.Open('[')
	for n := 0; d.More(']', n); n++ {
		if n == 1 { // one, or many
			list = append(make([]T, 0, 8), list...)
		}
		list = append(list, *new(T))
		read(&list[n])
	}
	if list == nil {
		d.Spoil()
	}
	return list
}

func (d *decoder) op() scan.Op {
	op, err := scan.ParseOp(d.Str())
	if err != nil {
		d.Spoil()
	}
	return op
}

// origin reads a member of an Origin; names are numbered from 10.
func (d *decoder) origin(o *Origin, seen *rawjson.Names, name string) bool {
	switch name {
	case "ev":
		d.Once(seen, 10)
		o.Ev = d.Str()
	case "src":
		d.Once(seen, 11)
		o.Src = d.Str()
	case "key":
		d.Once(seen, 12)
		o.Key = d.Int()
	case "timed":
		d.Once(seen, 13)
		o.Timed = d.Bool()
	case "manual":
		d.Once(seen, 14)
		o.Manual = d.Bool()
	case "repaired":
		d.Once(seen, 15)
		o.Repaired = d.Bool()
	case "ref":
		d.Once(seen, 16)
		o.Ref = d.Str()
	case "operator":
		d.Once(seen, 17)
		o.Operator = d.Str()
	case "atd":
		d.Once(seen, 18)
		o.ATD = new(d.Bool())
	case "op":
		d.Once(seen, 19)
		o.Op = d.op()
	default:
		return false
	}
	return true
}

// answer reads a member of an Answer; names are numbered from 20.
func (d *decoder) answer(a *Answer, seen *rawjson.Names, name string) {
	switch name {
	case "result":
		d.Once(seen, 20)
		a.Result = scan.Result(d.Str())
	case "reason":
		d.Once(seen, 21)
		a.Reason = scan.Reason(d.Str())
	case "code":
		d.Once(seen, 22)
		a.Code = d.Str()
	case "state":
		d.Once(seen, 23)
		a.State = d.Str()
	case "reasons":
		d.Once(seen, 24)
		a.Reasons = d.Strs()
	case "alert_id":
		d.Once(seen, 25)
		a.AlertID = d.Str()
	case "nmvs_trx":
		d.Once(seen, 26)
		a.NMVSTrx = d.Str()
	case "nmvs_at":
		d.Once(seen, 27)
		a.NMVSAt = d.Str()
	case "evidence":
		d.Once(seen, 28)
		a.Evidence = d.Str()
	case "called":
		d.Once(seen, 29)
		a.Called = d.Bool()
	default:
		d.Spoil()
	}
}

func (d *decoder) note(n *Note) {
	d.object(func(seen *rawjson.Names, name string) {
		switch name {
		case "k":
			d.Once(seen, 0)
			n.K = scan.PackID(d.Str())
		case "pack":
			d.Once(seen, 1)
			n.Pack = new(scan.ReadPack(&d.Reader))
		case "offset":
			d.Once(seen, 2)
			n.Offset = d.int()
		case "detail":
			d.Once(seen, 3)
			n.Detail = d.Str()
		case "trx":
			d.Once(seen, 4)
			n.Trx = d.Str()
		default:
			if !d.origin(&n.Origin, seen, name) {
				d.answer(&n.Answer, seen, name)
			}
		}
	})
}

func (d *decoder) product() *Product {
	p := &Product{}
	d.object(func(seen *rawjson.Names, name string) {
		switch name {
		case "scheme":
			d.Once(seen, 0)
			p.Scheme = scan.Scheme(d.Str())
		case "code":
			d.Once(seen, 1)
			p.Code = d.Str()
		case "batch":
			d.Once(seen, 2)
			p.Batch = d.Str()
		case "expiry":
			d.Once(seen, 3)
			p.Expiry = d.Str()
		default:
			d.Spoil()
		}
	})
	return p
}

func (d *decoder) open(o *Open) {
	d.object(func(seen *rawjson.Names, name string) {
		switch name {
		case "c":
			d.Once(seen, 0)
			o.C = d.Str()
		case "svc":
			d.Once(seen, 1)
			o.Svc = Service(d.Str())
		case "op":
			d.Once(seen, 2)
			o.Op = d.op()
		case "sha":
			d.Once(seen, 3)
			o.SHA = d.Str()
		case "product":
			d.Once(seen, 4)
			o.Product = d.product()
		case "pre":
			d.Once(seen, 5)
			o.Pre = d.Bool()
		case "probe":
			d.Once(seen, 6)
			o.Probe = d.Bool()
		case "packs":
			d.Once(seen, 7)
			o.Packs = array(d, d.openPack)
		default:
			d.Spoil()
		}
	})
}

func (d *decoder) openPack(p *OpenPack) {
	d.object(func(seen *rawjson.Names, name string) {
		switch name {
		case "serial":
			d.Once(seen, 0)
			p.Serial = d.Str()
		case "c":
			d.Once(seen, 1)
			p.C = d.Str()
		case "product":
			d.Once(seen, 2)
			p.Product = d.product()
		case "ref_c":
			d.Once(seen, 3)
			p.RefC = d.Str()
		case "calls":
			d.Once(seen, 4)
			p.Calls = d.int()
		default:
			if !d.origin(&p.Origin, seen, name) {
				d.Spoil()
			}
		}
	})
}

func (d *decoder) fact(f *Fact) {
	d.object(func(seen *rawjson.Names, name string) {
		switch name {
		case "c":
			d.Once(seen, 0)
			f.C = d.Str()
		case "of":
			d.Once(seen, 1)
			f.Of = d.Uint()
		case "kind":
			d.Once(seen, 2)
			f.Kind = Kind(d.Str())
		case "tx":
			d.Once(seen, 3)
			f.Tx = d.Str()
		case "not_before":
			d.Once(seen, 4)
			f.NotBefore = d.Int()
		case "svc":
			d.Once(seen, 5)
			f.Svc = Service(d.Str())
		case "who":
			d.Once(seen, 6)
			f.Who = d.Str()
		case "why":
			d.Once(seen, 7)
			f.Why = d.Str()
		case "packs":
			d.Once(seen, 8)
			f.Packs = array(d, d.factPack)
		default: // control: a person writes one now and then
			d.Spoil()
		}
	})
}

func (d *decoder) factPack(p *FactPack) {
	d.object(func(seen *rawjson.Names, name string) {
		switch name {
		case "i":
			d.Once(seen, 0)
			p.I = d.int()
		case "k":
			d.Once(seen, 1)
			p.K = scan.PackID(d.Str())
		case "to":
			d.Once(seen, 2)
			if p.To.UnmarshalText([]byte(d.Str())) != nil {
				d.Spoil()
			}
		case "op":
			d.Once(seen, 3)
			p.Op = d.op()
		case "probe":
			d.Once(seen, 4)
			p.Probe = d.Bool()
		default:
			if p.Answer == nil {
				p.Answer = &Answer{}
			}
			d.answer(p.Answer, seen, name)
		}
	})
}
