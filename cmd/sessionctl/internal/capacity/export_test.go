package capacity

// Fit is fit for tests of what it makes of numbers.
func Fit(steps []Step) *Line { return fit(steps) }

// EstimatedBytes is what checkRoom reckons with for one session.
func EstimatedBytes(o Options) (int, error) {
	made, err := newSource(o)
	if err != nil {
		return 0, err
	}
	return made.estimate(), nil
}
