/** What both panels have: a connection, one question at a time, an answer, a table of offerings. */

import { InlineQuestion } from '../shared/confirm.js';
import { element, show } from '../shared/dom.js';
import { COLUMNS, devices, rowsOf } from '../shared/offering_rows.js';
import type { OfferingRow } from '../shared/offering_rows.js';
import { OfferingsTable } from '../shared/offerings.js';
import { OptionForm } from '../shared/option_form.js';
import type { Filled } from '../shared/option_form.js';
import { problemView } from '../shared/problem.js';
import { plain } from '../shared/text.js';
import { usd } from '../shared/words.js';
import { Comm } from './comm.js';
import type { Failure, Heard, Model } from './comm.js';

/** Where a question about an offering stands. */
const OFFERING = 'offering';

export interface Given {
  readonly model: Model;
  readonly el: HTMLElement;
}

/** What was last sent to be deployed: the offering, the models, and what the form had. */
interface Sent {
  readonly one: OfferingRow;
  readonly models: readonly string[];
  readonly given: Filled;
}

/** A view of a panel. A kind of it draws, and calls `begin` once it is made. */
export abstract class Panel {
  protected readonly root: HTMLElement;
  protected readonly comm: Comm;
  protected readonly questions: InlineQuestion;
  protected readonly offerings: OfferingsTable;
  /** What came of the last thing that was asked for. */
  protected readonly said = element('div');
  /** How what is deployed is to be. */
  private readonly options = new OptionForm();
  private models: readonly string[] = [];
  private sent: Sent | null = null;

  constructor({ model, el }: Given, name: string) {
    this.root = element('section', {
      class: 'conduit-panel',
      'aria-label': name,
      'data-lm-suppress-shortcuts': 'true',
    });
    // The notebook's shortcuts do not hear its keys.
    this.root.addEventListener('keydown', (event) => event.stopPropagation());
    el.append(this.root);
    this.questions = new InlineQuestion(this.root, () => this.drawAll());
    this.comm = new Comm(
      model,
      (message) => this.take(message),
      () => this.connect(),
    );
    this.offerings = new OfferingsTable({
      columns: COLUMNS,
      refresh: () => this.refresh(),
      deploy: (one) => void this.deploy(one),
    });
  }

  end(): void {
    this.comm.end();
  }

  protected begin(): void {
    this.connect();
    this.comm.begin(this.root);
  }

  /** Asks the providers again for what the table shows. */
  protected abstract refresh(): void;

  /** Brings what is shown to what is known. */
  protected abstract draw(): void;

  /** Takes note that the kernel came or went. */
  protected connect(): void {
    const { isAlive } = this.comm;
    this.offerings.setAlive(isAlive);
    if (!isAlive) {
      this.questions.settle(false); // what it offers to do cannot be done now
    }
    this.drawAll();
  }

  protected take(message: Heard): void {
    if (message.kind === 'choices') {
      this.options.offer(message.options);
    } else if (message.kind === 'table') {
      this.models = message.models;
      this.offerings.show({ ...message, rows: rowsOf(message) });
    } else if (message.kind === 'action') {
      this.say(message.text);
    } else if (message.kind === 'problem') {
      this.takeFailure(message);
    }
  }

  protected say(text: string): void {
    show(this.said, text && element('p', { role: 'status' }, plain(text)));
  }

  /** Asks how the models are to be deployed on an offering, and tells the kernel. */
  private async deploy(one: OfferingRow, models = this.models): Promise<void> {
    const place = [plain(one.provider, 80), plain(one.region, 80)].filter(Boolean).join(', ');
    const question = {
      title: `Deploy on ${plain(devices(one), 80)} at ${place} for ${usd(one.usd_per_hour)}/h?`,
      body: '',
      accept: 'Deploy',
      form: this.options,
    };
    while (await this.questions.ask(question, OFFERING)) {
      const { given } = this.options;
      if (given) {
        this.sent = { one, models, given };
        this.options.fill();
        this.comm.send({ kind: 'deploy', key: one.key, request: { ...given, models } });
        return;
      }
    }
  }

  /**
   * Shows what went wrong. Where an option of what was sent from here is at fault, the form comes
   * back with it marked, unless its user does something else by now.
   */
  private takeFailure(problem: Failure): void {
    const { sent } = this;
    const isOfIt = problem.form === this.comm.name && problem.key === sent?.one.key;
    if (sent && isOfIt && !this.questions.isAsking) {
      this.sent = null;
      this.options.fill(sent.given);
      const active = document.activeElement;
      const isHere = active === null || active === document.body || this.root.contains(active);
      if (this.options.blame(problem) && isHere) {
        this.say('');
        void this.deploy(sent.one, sent.models);
        return;
      }
    }
    show(this.said, problemView(problem, 'alert'));
  }

  private drawAll(): void {
    show(this.offerings.question, this.questions.view(OFFERING));
    this.draw();
  }
}

/** What anywidget takes of a module that draws one kind of panel. */
export function widgetOf(Kind: new (given: Given) => Panel): {
  render: (given: Given) => () => void;
} {
  return {
    render: (given) => {
      const panel = new Kind(given);
      return () => {
        panel.end();
      };
    },
  };
}
