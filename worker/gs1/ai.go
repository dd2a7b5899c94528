package gs1

// aiSpec is the form of the values of one application identifier, or of a run of them. Identifiers that no pack needs are
// here so that they can be read past; their contents beyond length and alphabet are nobody's business.
type aiSpec struct {
	lo, hi   uint16 // identifiers as numbers, inclusive; all have digits digits
	digits   uint8  // of the identifier
	min, max uint8  // length of the value
	numeric  bool
}

// predefined gives the total length, identifier included, of elements that need no separator: by the identifier's first
// two digits (GS1 General Specifications, "predefined length"). 0: a separator must follow unless last.
var predefined = [100]uint8{
	0: 20, 1: 16, 2: 16, 3: 16, 4: 18,
	11: 8, 12: 8, 13: 8, 14: 8, 15: 8, 16: 8, 17: 8, 18: 8, 19: 8, 20: 4,
	31: 10, 32: 10, 33: 10, 34: 10, 35: 10, 36: 10, 41: 16,
}

// aiSpecs lists the assigned identifiers but 01, 10, 17 and 21, which parseElements handles itself. In ascending order of the
// first two digits, because aiFirst points into it.
var aiSpecs = []aiSpec{
	{0, 0, 2, 18, 18, true}, {2, 3, 2, 14, 14, true},
	{11, 13, 2, 6, 6, true}, {15, 16, 2, 6, 6, true},
	{20, 20, 2, 2, 2, true}, {22, 22, 2, 1, 20, false},
	{235, 235, 3, 1, 28, false},
	{240, 241, 3, 1, 30, false}, {242, 242, 3, 1, 6, true}, {243, 243, 3, 1, 20, false},
	{250, 251, 3, 1, 30, false}, {253, 253, 3, 13, 30, false}, {254, 254, 3, 1, 20, false}, {255, 255, 3, 13, 25, true},
	{30, 30, 2, 1, 8, true},
	{3100, 3169, 4, 6, 6, true}, {3200, 3299, 4, 6, 6, true}, {3300, 3379, 4, 6, 6, true},
	{3400, 3499, 4, 6, 6, true}, {3500, 3579, 4, 6, 6, true}, {3600, 3699, 4, 6, 6, true},
	{37, 37, 2, 1, 8, true},
	{3900, 3909, 4, 1, 15, true}, {3910, 3919, 4, 4, 18, true}, {3920, 3929, 4, 1, 15, true}, {3930, 3939, 4, 4, 18, true},
	{3940, 3949, 4, 4, 4, true}, {3950, 3959, 4, 6, 6, true},
	{400, 401, 3, 1, 30, false}, {402, 402, 3, 17, 17, true}, {403, 403, 3, 1, 30, false},
	{410, 417, 3, 13, 13, true},
	{420, 420, 3, 1, 20, false}, {421, 421, 3, 4, 12, false}, {422, 422, 3, 3, 3, true}, {423, 423, 3, 3, 15, true},
	{424, 424, 3, 3, 3, true}, {425, 425, 3, 3, 15, true}, {426, 426, 3, 3, 3, true}, {427, 427, 3, 1, 3, false},
	{4300, 4301, 4, 1, 35, false}, {4302, 4306, 4, 1, 70, false}, {4307, 4307, 4, 2, 2, false}, {4308, 4308, 4, 1, 30, false},
	{4309, 4309, 4, 20, 20, true}, {4310, 4311, 4, 1, 35, false}, {4312, 4316, 4, 1, 70, false}, {4317, 4317, 4, 2, 2, false},
	{4318, 4318, 4, 1, 20, false}, {4319, 4319, 4, 1, 30, false}, {4320, 4320, 4, 1, 35, false}, {4321, 4323, 4, 1, 1, true},
	{4324, 4325, 4, 10, 10, true}, {4326, 4326, 4, 6, 6, true}, {4330, 4333, 4, 6, 7, false},
	{7001, 7001, 4, 13, 13, true}, {7002, 7002, 4, 1, 30, false}, {7003, 7003, 4, 10, 10, true}, {7004, 7004, 4, 1, 4, true},
	{7005, 7005, 4, 1, 12, false}, {7006, 7006, 4, 6, 6, true}, {7007, 7007, 4, 6, 12, true}, {7008, 7008, 4, 1, 3, false},
	{7009, 7009, 4, 1, 10, false}, {7010, 7010, 4, 1, 2, false}, {7011, 7011, 4, 6, 10, true}, {7020, 7022, 4, 1, 20, false},
	{7023, 7023, 4, 1, 30, false}, {7030, 7039, 4, 4, 30, false}, {7040, 7040, 4, 4, 4, false}, {7041, 7041, 4, 1, 4, false},
	{710, 717, 3, 1, 20, false},
	{7230, 7239, 4, 3, 30, false}, {7240, 7240, 4, 1, 20, false}, {7241, 7241, 4, 2, 2, true}, {7242, 7242, 4, 1, 25, false},
	{7250, 7250, 4, 8, 8, true}, {7251, 7251, 4, 12, 12, true}, {7252, 7252, 4, 1, 1, true}, {7253, 7254, 4, 1, 40, false},
	{7255, 7255, 4, 1, 10, false}, {7256, 7256, 4, 1, 90, false}, {7257, 7257, 4, 1, 70, false}, {7258, 7258, 4, 3, 3, false},
	{7259, 7259, 4, 1, 40, false},
	{8001, 8001, 4, 14, 14, true}, {8002, 8002, 4, 1, 20, false}, {8003, 8003, 4, 14, 30, false}, {8004, 8004, 4, 1, 30, false},
	{8005, 8005, 4, 6, 6, true}, {8006, 8006, 4, 18, 18, true}, {8007, 8007, 4, 1, 34, false}, {8008, 8008, 4, 8, 12, true},
	{8009, 8009, 4, 1, 50, false}, {8010, 8010, 4, 1, 30, false}, {8011, 8011, 4, 1, 12, true}, {8012, 8012, 4, 1, 20, false},
	{8013, 8014, 4, 1, 25, false}, {8017, 8018, 4, 18, 18, true}, {8019, 8019, 4, 1, 10, true}, {8020, 8020, 4, 1, 25, false},
	{8026, 8026, 4, 18, 18, true}, {8030, 8030, 4, 1, 90, false},
	{8110, 8110, 4, 1, 70, false}, {8111, 8111, 4, 4, 4, true}, {8112, 8112, 4, 1, 70, false},
	{8200, 8200, 4, 1, 70, false},
	{90, 90, 2, 1, 30, false}, {91, 99, 2, 1, 90, false},
}

// aiFirst gives, by the first two digits, the index of the first spec that may fit.
var aiFirst = buildAIFirst()

func buildAIFirst() (first [100]uint8) {
	for i := range first {
		first[i] = uint8(len(aiSpecs))
	}
	for at := len(aiSpecs) - 1; at >= 0; at-- {
		lo, hi := leading(aiSpecs[at].lo, aiSpecs[at].digits), leading(aiSpecs[at].hi, aiSpecs[at].digits)
		for two := lo; two <= hi; two++ {
			first[two] = uint8(at)
		}
	}
	return first
}

// leading gives the first two digits of an identifier of so many digits.
func leading(ai uint16, digits uint8) uint16 {
	for ; digits > 2; digits-- {
		ai /= 10
	}
	return ai
}

// lookupAI reads the application identifier at the start of s. ok is false when none of the assigned ones stands there.
func lookupAI(s string) (ai uint16, spec *aiSpec, ok bool) {
	var number [5]uint16 // by how many digits were read
	n := 0
	for n < 4 && n < len(s) && s[n]-'0' <= 9 {
		number[n+1] = number[n]*10 + uint16(s[n]-'0')
		n++
	}
	if n < 2 {
		return 0, nil, false
	}
	two := number[2]
	for at := int(aiFirst[two]); at < len(aiSpecs); at++ {
		spec = &aiSpecs[at]
		if leading(spec.lo, spec.digits) > two {
			break
		}
		if d := int(spec.digits); d <= n && spec.lo <= number[d] && number[d] <= spec.hi {
			return number[d], spec, true
		}
	}
	return 0, nil, false
}
