import { describe, expect, it } from 'vitest';

import { Store, ageOf, spentBy, todayBy, untilMoment } from '../../src/shared/store.js';
import { StoppedTime, deployment, overview, storeOf } from '../samples.js';

describe('the store', () => {
  it('keeps what has not changed', () => {
    const one = deployment({ key: 'one', name: 'one' });
    const two = deployment({ key: 'two', name: 'two' });
    const store = storeOf(overview({ revision: 'e.1', deployments: [one, two] }));
    expect(store.revision).toBe('e.1');

    store.take(
      overview({
        revision: 'e.2',
        whole: false,
        deployments: [{ ...two, status: 'stopping' }],
        live: ['one', 'two'],
      }),
    );

    expect(store.revision).toBe('e.2');
    expect(store.state.deployments.map((d) => d.status)).toEqual(['running', 'stopping']);
  });

  it('drops what is not there any more', () => {
    const deployments = [deployment({ key: 'one' }), deployment({ key: 'two' })];
    const store = storeOf(overview({ deployments }));

    store.take(overview({ whole: false, deployments: [], live: ['two'] }));

    expect(store.state.deployments.map((d) => d.key)).toEqual(['two']);
  });

  it('wants everything again when it has missed something', () => {
    const store = storeOf(overview());

    store.take(overview({ revision: 'e.7', whole: false, deployments: [], live: ['unheard-of'] }));

    expect(store.revision).toBeNull();
  });

  it('keeps what it knows while nothing newer comes, and tells who listens', () => {
    const store = storeOf(overview());
    const problems: (string | null)[] = [];
    const end = store.subscribe((state) => problems.push(state.problem));

    store.lose('gone');
    store.take(overview());
    end();
    store.lose('again');

    expect(problems).toEqual(['gone', null]);
    expect(store.state.deployments).toHaveLength(1);
  });
});

describe('what is told of a state', () => {
  it('grows with time', () => {
    const time = new StoppedTime();
    const store = new Store(time);
    expect(ageOf(store.state, time.now())).toBeNull();
    store.take(overview());
    time.pass(3_600_000);

    expect(ageOf(store.state, time.now())).toBe(3_602_000);
    expect(todayBy(store.state, time.now())).toBeCloseTo(1.68);
    expect(spentBy(store.state, deployment(), time.now())).toBeCloseTo(1.68);
  });

  it('counts by the clock of the server, whatever this one says', () => {
    const time = new StoppedTime();
    time.at += 9_999_999;
    const store = storeOf(overview(), time);
    time.pass(60_000);

    expect(untilMoment(store.state, '2026-11-27T12:38:00Z', time.now())).toBe(37 * 60_000);
  });
});
