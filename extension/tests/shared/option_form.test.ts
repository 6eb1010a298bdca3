import { beforeEach, describe, expect, it } from 'vitest';

import { show } from '../../src/shared/dom.js';
import { OptionForm } from '../../src/shared/option_form.js';
import { HOSTILE, OPTIONS, fill, found, option } from '../samples.js';

describe('the form of options', () => {
  let form: OptionForm;
  let root: HTMLElement;

  const draw = (): void => show(root, form.view());
  const given = (): unknown => {
    form.keep(root);
    return form.given;
  };
  const control = (name: string): HTMLInputElement =>
    found(root, `[name=${name}]`) as HTMLInputElement;
  const describedBy = (name: string): (string | undefined)[] =>
    (control(name).getAttribute('aria-describedby') ?? '')
      .split(' ')
      .map((id) => document.getElementById(id)?.textContent);

  beforeEach(() => {
    form = new OptionForm();
    form.offer(OPTIONS);
    root = document.createElement('div');
    document.body.replaceChildren(root);
    draw();
  });

  it('is nothing where no options are known', () => {
    expect(new OptionForm().view()).toBeNull();
  });

  it('shows the basic options, and the others under a disclosure', () => {
    const names = (where: string): (string | null)[] =>
      [...root.querySelectorAll(`${where} [name]`)].map((one) => one.getAttribute('name'));

    expect(names('.conduit-options > .conduit-fields')).toEqual(['hours', 'provider']);
    expect(names('details')).toEqual(['image', 'dtype', 'enterprise']);
    expect(found(root, 'details').hasAttribute('open')).toBe(false);
    expect(found(root, 'summary').textContent).toBe('More options');
  });

  it('draws each kind as what it is filled in with', () => {
    form.offer([
      ...OPTIONS,
      option('interruptible', { kind: 'switch' }),
      ...(['count', 'whole', 'number', 'usd', 'seconds'] as const).map((kind) =>
        option(kind, { kind }),
      ),
      ...(['texts', 'names', 'range', 'command'] as const).map((kind) => option(kind, { kind })),
    ]);
    draw();
    const types = [...root.querySelectorAll<HTMLInputElement>('[name]')].map((one) => [
      one.name,
      one.type,
    ]);

    expect(Object.fromEntries(types)).toEqual({
      hours: 'number',
      provider: 'text',
      image: 'text',
      dtype: 'select-one',
      enterprise: 'checkbox',
      interruptible: 'select-one',
      count: 'number',
      whole: 'number',
      number: 'number',
      usd: 'number',
      seconds: 'number',
      texts: 'text',
      names: 'text',
      range: 'text',
      command: 'text',
    });
    const choices = [...(control('interruptible') as unknown as HTMLSelectElement).options];
    expect(choices.map((one) => one.value)).toEqual(['', 'yes', 'no']);
  });

  it('names each field, and describes it by its unit and its help', () => {
    const { labels } = control('hours');
    expect([...(labels ?? [])].map((one) => one.textContent)).toEqual(['hours']);
    expect(describedBy('hours')).toEqual(['h', 'What hours means.']);
    expect(describedBy('image')).toEqual(['What image means.']);
  });

  it('shows what holds where nothing is filled in', () => {
    expect(control('provider').placeholder).toBe('local');
    expect(control('hours').placeholder).toBe('');
    expect(found(root, '[name=dtype] option').textContent).toBe('default (auto)');
  });

  it('gives back what was filled in, and nothing else', () => {
    expect(given()).toEqual({});

    fill(root, 'hours', '2');
    fill(root, 'image', '  mine:1 ');
    fill(root, 'provider', '   ');
    fill(root, 'dtype', 'float16');
    fill(root, 'enterprise', true);

    expect(given()).toEqual({
      hours: '2',
      image: 'mine:1',
      dtype: 'float16',
      enterprise: 'true',
    });
  });

  it('gives back a flag that is taken away where it is the default', () => {
    form.offer([option('guard', { kind: 'flag', default: true })]);
    draw();
    expect([control('guard').checked, given()]).toEqual([true, {}]);

    fill(root, 'guard', false);

    expect(given()).toEqual({ guard: 'false' });
  });

  it('has what was typed when it is drawn again, until it is emptied', () => {
    fill(root, 'image', 'mine:1');
    fill(root, 'enterprise', true);
    fill(root, 'dtype', 'float16');
    form.keep(root);
    show(root);
    draw();

    expect([control('image').value, control('enterprise').checked]).toEqual(['mine:1', true]);
    expect(control('dtype').value).toBe('float16');
    expect(found(root, 'details').hasAttribute('open')).toBe(true);
    form.fill();
    show(root);
    draw();
    expect(given()).toEqual({});
  });

  it('keeps what is being typed while all around it is drawn anew', () => {
    const typing = control('image');
    typing.focus();
    typing.value = 'mi';
    draw();

    expect(control('image')).toBe(typing);
    expect([typing.value, document.activeElement]).toEqual(['mi', typing]);
  });

  it('forgets what was filled in for an option that it does not ask for any more', () => {
    fill(root, 'image', 'mine:1');
    fill(root, 'hours', '2');
    form.keep(root);
    form.offer([option('hours', { kind: 'hours' })]);

    expect(form.given).toEqual({ hours: '2' });
  });

  it('marks the field at fault, with the message beside it, until it is filled in again', () => {
    const problem = { message: 'image is not there.', hint: 'Push it.', param: 'image' };
    expect(form.blame(problem)).toBe(true);
    draw();

    expect(control('image').getAttribute('aria-invalid')).toBe('true');
    expect(describedBy('image')).toEqual(['What image means.', 'image is not there. Push it.']);
    expect(root.querySelectorAll('[aria-invalid], [role=alert]')).toHaveLength(2);
    expect(found(root, 'details').hasAttribute('open')).toBe(true);
    form.keep(root);
    draw();
    expect(root.querySelector('[aria-invalid], [role=alert]')).toBeNull();
  });

  it('has no field for what else may be at fault', () => {
    expect(form.blame({ message: 'No.', param: 'models' })).toBe(false);
    expect(form.blame({ message: 'No.' })).toBe(false);
    draw();

    expect(root.querySelector('[aria-invalid], [role=alert]')).toBeNull();
  });

  it('sends nothing while a field holds what is no number', () => {
    // What browsers say of "1e"; jsdom takes it for nothing.
    Object.defineProperty(control('hours'), 'validity', { value: { badInput: true } });

    expect(given()).toBeNull();
    draw();
    expect(control('hours').getAttribute('aria-invalid')).toBe('true');
    expect(describedBy('hours').at(-1)).toContain('hours');
  });

  it('has ids of its own, beside another one', () => {
    const other = new OptionForm();
    other.offer(OPTIONS);
    document.body.append(other.view() || '');

    const ids = [...document.querySelectorAll('[id]')].map((one) => one.id);
    expect(ids.length).toBeGreaterThan(10);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it.each(HOSTILE)('shows foreign text as text', (text) => {
    const hostile = { label: text, help: text, units: text, default: text };
    form.offer([
      option('one', { ...hostile, is_basic: true }),
      option('two', { ...hostile, choices: [text] }),
    ]);
    form.fill({ one: text });
    form.blame({ message: text, hint: text, param: 'one' });
    draw();

    expect(root.querySelector('script, img, svg, iframe, a')).toBeNull();
    expect(root.textContent.length).toBeLessThan(10_000);
  });
});
