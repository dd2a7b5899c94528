package gs1

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// host is a keyboard layout's effect on what a US scanner types: from and to pair by pair, everything else unchanged.
// These tables are the tests' own knowledge of the layouts, written apart from the ones that undo them.
type host struct{ name, from, to string }

var (
	frenchHost = host{"french",
		"1234567890-!\"%&'()*,./:;<>?_aqwzmAQWZM]",
		"&é\"'(-è_çà)1%57ù908;:!Mm./§°qazw,QAZW?$"}
	belgianHost = host{"belgian",
		"1234567890-=+!\"%&'()*,./:;<>?_aqwzmAQWZM]",
		"&é\"'(§è!çà)-_1%57ù908;:=Mm./+°qazw,QAZW?$"}
	otherHosts = []host{
		{"german", "yzYZ]-=+/\"'&()*:;<>?_", "zyZY+ß´`-Ää/)=(Öö;:_?"},
		{"italian", "]-=+/\"'&()*:;<>?_", "+'ì^-°à/)=(çò;:_?"},
		{"spanish", "]-=+/\"'&()*:;<>?_", "+'¡¿-¨´/)=(Ññ;:_?"},
		{"czech", "1234567890yzYZ]-=!\"%&'()*/:;?_", "+ěščřžýáíézyZY)=´1!57§908-\"ů_%"},
		{"british", "\"", "@"},
		{"swedish", "]-=+/\"'&()*:;<>?_", "¨+´`-Ää/)=(Öö;:_?"},
		{"hungarian", "0yzYZ]-=+/\"'%&()*:;<>?_", "özyZYúüóÓ-Áá%=)Ö(Éé?:_Ü"},
		{"caps lock", "abdABD", "ABDabd"},
	}
)

func (h host) types(text string) string {
	from, to := []rune(h.from), []rune(h.to)
	return strings.Map(func(r rune) rune {
		for i, f := range from {
			if f == r {
				return to[i]
			}
		}
		return r
	}, text)
}

func TestHostTablesPairUp(t *testing.T) {
	for _, h := range append([]host{frenchHost, belgianHost}, otherHosts...) {
		if f, to := len([]rune(h.from)), len([]rune(h.to)); f != to {
			t.Errorf("%s: %d keys, %d characters", h.name, f, to)
		}
	}
	for _, h := range []host{frenchHost, belgianHost} {
		if got := h.types("]d2"); got != azertyID {
			t.Errorf("%s: ]d2 becomes %q", h.name, got)
		}
	}
}

func TestAzertyIsRepairedWhenBothHostsAgree(t *testing.T) {
	// No 6, 8 or symbol outside the code's and date's digits, where the wrong host's reading is not even valid.
	sent := "]d201" + withCheck("0340093686868") + "21Aqz7" + gs + "17271231" + "10mWM" + gs + "7113400930000007"
	want := Result{Repaired: true, NHRN: "3400930000007",
		UI: UI{GTIN, withCheck("0340093686868"), "Aqz7", "mWM", "271231"}}
	for _, h := range []host{frenchHost, belgianHost} {
		got, err := Parse(h.types(sent), Options{})
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", h.name, got, err)
		}
	}
}

func TestAzertyIsRefusedWhenTheHostsDisagree(t *testing.T) {
	// The same text read by the wrong host gives another valid serial. One row each character that differs.
	for _, serial := range []string{"A6", "A8", "A/", "A=", "A-", "A+", "A?", "A_"} {
		sent := "]d201" + gtin + "21" + serial + gs + "17271231" + "10L"
		for _, h := range []host{frenchHost, belgianHost} {
			got, err := Parse(h.types(sent), Options{Declared: true})
			if err == nil && got.UI.Serial != serial {
				t.Errorf("%s: serial %q accepted as %q", h.name, serial, got.UI.Serial)
			}
			if err != nil && err.(*Error).Reason != ReasonLayout {
				t.Errorf("%s: serial %q: %v, want layout", h.name, serial, err)
			}
		}
	}
	if _, err := Parse(frenchHost.types("]d201"+gtin+"21A6"+gs+"1727123110L"), Options{}); err == nil {
		t.Error("6 on a French host is - on neither less than = on a Belgian one: both readings are valid")
	}
}

func TestAzertyWithLostSeparatorsIsRefused(t *testing.T) {
	for _, h := range []host{frenchHost, belgianHost} {
		text := strings.ReplaceAll(h.types("]d2"+body), gs, "")
		if r, err := Parse(text, Options{Declared: true}); err == nil || err.(*Error).Reason != ReasonLayout {
			t.Errorf("%s: %+v, %v", h.name, r, err)
		}
	}
}

func TestMangledTextIsNeverAcceptedAsAnotherPack(t *testing.T) {
	hosts := append([]host{frenchHost, belgianHost}, otherHosts...)
	rapid.Check(t, func(t *rapid.T) {
		u := drawGTIN(t)
		sent := "]d2" + drawElements(t, u)
		h := rapid.SampledFrom(hosts).Draw(t, "host")
		text := h.types(sent)
		if rapid.Bool().Draw(t, "separators lost") {
			text = strings.ReplaceAll(text, gs, "")
		}
		// With every permission on: the identifier alone must prove it.
		got, err := Parse(text, Options{Declared: true, Bracketed: true, DigitalLink: true, Now: now2026})
		if err == nil && got.UI != u {
			t.Fatalf("%s: %q accepted as %+v, printed was %+v", h.name, text, got.UI, u)
		}
	})
}

func TestIntactTextIsNeverCalledMangled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := drawGTIN(t)
		got, err := Parse("]d2"+drawElements(t, u), Options{Now: now2026})
		if err != nil || got.UI != u || got.Repaired {
			t.Fatalf("%+v: %+v, %v", u, got, err)
		}
	})
}
