package breaker

// announceLocked has OnChange called in the background, in the order of the changes.
func (b *Breaker) announceLocked(c Change) {
	if b.closed() {
		return
	}
	b.changes = append(b.changes, c)
	if !b.announcing {
		b.announcing = true
		b.background.Go(b.announce)
	}
}

func (b *Breaker) announce() {
	for c, ok := b.nextChange(); ok; c, ok = b.nextChange() {
		b.config.OnChange(b.ctx, c)
	}
}

func (b *Breaker) nextChange() (c Change, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.announcing = len(b.changes) > 0 && !b.closed(); !b.announcing {
		return Change{}, false
	}
	c, b.changes = b.changes[0], b.changes[1:]
	return c, true
}

// blinkLocked has OnBlink called in the background: once more if it is being called, and
// once for all that happens meanwhile.
func (b *Breaker) blinkLocked() {
	if b.blinked = true; b.blinking {
		return
	}
	b.blinking = true
	b.background.Go(func() {
		for b.nextBlink() {
			b.config.OnBlink(b.ctx)
		}
	})
}

func (b *Breaker) nextBlink() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.blinking = b.blinked && !b.closed()
	b.blinked = false
	return b.blinking
}
